"""The only package with Redis commands. Knows jobs, not models or HTTP.

`keys` names every key, and `lua/` has one script for each verb. `ledger` is for whoever submits jobs, `claims` and
`leases` for workers, `timeline`, `change_log` and `pubsub` for readers. `dead_letters` has the failed jobs that wait
for a person. `housekeeping` keeps a queue moving after a crash. `registry` knows which models are published, and
`removal` what may be deleted.
"""

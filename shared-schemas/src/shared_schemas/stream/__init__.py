"""The only package with Redis commands. Knows jobs, not models or HTTP.

`keys` names every key, and `lua/` has one script for each verb. For whoever submits jobs: `submission`, `jobs` and
`control`. For workers: `claims` and `leases`. For readers: `timeline`, `change_log` and `pubsub`. `queues` knows which
queues exist, and `workers` who serves them. `dead_letters` has the failed jobs that wait for a person. `housekeeping`
keeps a queue moving after a crash. `registry` knows which models are published, and `removal` what may be deleted.
"""

"""The only package with Redis commands. Knows jobs, not models or HTTP.

`keys` names every key, and `lua/` has one script for each verb. For whoever submits jobs: `submission`, `jobs` and
`control`. For workers: `claims`, `leases` and `attempt_writer`. For readers: `timeline`, `change_log` and `pubsub`.
`schedule` makes jobs ready that are due, and `recovery` takes jobs back from dead workers. `queues` knows which queues
exist, and `workers` who serves them. `dead_letters` has the failed jobs that wait for a person. `registry` knows which
models are published, and `removal` what may be deleted.
"""

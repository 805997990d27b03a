"""The only package with Redis commands. Knows jobs, not models or HTTP.

`keys` names every key, and `lua/` has one script for each verb.

For the gateway: `submission`, `jobs` and `control`.
For workers: `claims`, `leases` and `attempt_writer`.
For readers of events: `timeline`, `change_log` and `pubsub`.
For both sides: `schedule` makes jobs ready that are due, `recovery` takes jobs back from dead workers.
Of all queues: `queues` knows which exist, `queue_queries` asks them, `workers` knows who serves them.
`dead_letters` has the failed jobs that wait for a person.
`registry` knows which models are published, and `removal` deletes jobs and models.
"""

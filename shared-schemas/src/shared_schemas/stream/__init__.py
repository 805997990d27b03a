"""The only package with Redis commands. Knows jobs, not models or HTTP.

`keys` names every key, and `lua/` has one script for each verb.

- The gateway submits jobs with `submission`, finds them with `jobs`, and cancels or pauses them with `control`.
- Workers get jobs with `claims`, keep them with `leases`, and write with `attempt_writer`.
- Readers of events use `timeline`, `change_log` and `pubsub`.
- `schedule` makes jobs ready that are due. `recovery` takes jobs back from dead workers.
- `queues` knows which queues exist, `queue_queries` asks all of them, and `workers` knows who serves them.
- `dead_letters` has the failed jobs that wait for a person.
- `registry` knows which models are published. `removal` deletes jobs and models.
"""

"""The types that all parts share: jobs, specs, events, models, errors. Knows no Redis, outside of `stream`.

`lifecycle.TRANSITIONS` is the one table of states and `advance` applies it; `error_codes` is the one table of codes.
All of it is pure, except `process` and `logs`, which set up the process of each service.
"""

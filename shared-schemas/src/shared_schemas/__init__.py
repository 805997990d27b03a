"""The types that all parts share: jobs, specs, events, models, errors. All of them are pure.

`lifecycle.TRANSITIONS` is the one table of states, and `lifecycle.advance` applies it.
`error_codes` is the one table of error codes.
Three packages do more: `stream` uses Redis, `store` uses files, and `service` sets up a process.
"""

"""What sets up and ends the process of a service. Knows no job, no event and no Redis.

`settings`: how a setting is documented, and how it is read from a variable.
`process`: the garbage collector, and the end of a process whose settings are wrong.
`logs`: the format of a service's logs. Needs structlog, the extra `logs` of this package.
`observers`: several observers of a service's events as one.
`failpoints`: named places where a test may stop the process.
"""

"""HTTP in, events out. Knows jobs and models by name; never loads one.

In: `front` has the hot routes, `body` decodes bodies into Structs, `preparing` checks and pins a spec, `signatures`
knows which inputs a model takes, `submitting` stores jobs, `coalescing` joins calls that arrive together, `problems`
turns errors into answers.

Out: `hub` is the one subscription of the process, `following` the life of an open event stream, `timelines` and `logs`
what a stream can follow. `delivery` encodes events, `streaming` writes them, and `protocol` lets a stream outlive the
call that began it.
"""

"""HTTP in, events out. Knows jobs and models by name; never loads one.

In: `edge` has the connection and what all requests have in common, `routes` the routes. `intake`
decodes bodies into Structs, checks them and stores jobs.

Out: `feed` has the one subscription of the process and the life of each open event stream.
`surfaces` decides what answers and frames look like. `edge` lets a stream outlive the call that
began it.

`duties` is what the process does without a request. `wiring` makes all parts, `services` holds
those that routes and duties use, `app` runs them.

A folder imports from those after it, and never the other way: routes, surfaces, intake, feed, edge.
"""

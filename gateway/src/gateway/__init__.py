"""HTTP in, events out. Knows jobs and models by name; never loads one.

In: `edge` has the connection and every request as such, `routes` the routes, `intake` decodes bodies into Structs,
checks them and stores jobs.

Out: `feed` has the one subscription of the process and the life of each open event stream, `surfaces` what answers and
frames look like, and `edge` lets a stream outlive the call that began it.

`duties` is what the process does by itself. A folder imports from those after it, and never the other way:
routes, surfaces, intake, feed, edge.
"""

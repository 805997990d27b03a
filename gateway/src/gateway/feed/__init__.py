"""Events out: one subscription for the process, the life of an open event stream, what a stream can follow.

Knows timelines and logs of jobs, not what a surface makes of them.
"""

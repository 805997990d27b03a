"""The contestants. Each is a program of its own. The queues have the same three commands:

enqueue URL N            store N no-op jobs as fast as possible; prints {"s": seconds, "cpu_s": of this process}
work URL N FILE          be one worker process until it is ended; FILE as in tally.py
round_trips URL N        submit one job after the other, each after the result of the last; prints {"ms": [latency, …]}

The servers of models, and the others, say in their files how they are called.
"""

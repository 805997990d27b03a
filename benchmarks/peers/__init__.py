"""The contestants: each a program of its own, with the same three commands.

enqueue URL N            store N no-op jobs as fast as it can; prints {"s": seconds, "cpu_s": of this process}
work URL N FILE          be one worker process until it is ended; FILE as in tally.py
round_trips URL N        one job after the other, each until its result is here; prints {"ms": [latency, …]}
"""

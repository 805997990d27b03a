"""Sends events to readers: the process's one subscription, open event streams, and the sources that
a stream can follow.

Knows timelines and the log of all jobs, not how a surface encodes them.
"""

"""The connection and every request as such: HTTP parsing and its bounds, hosts, CORS, request ids, problems.

Knows no route and no job.
"""

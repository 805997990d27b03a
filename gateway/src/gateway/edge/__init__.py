"""What applies to every connection and every request: limits on HTTP, hosts, CORS, request ids and
problems.

Knows no route and no job.
"""

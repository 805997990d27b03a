"""Jobs in: decodes bodies into Structs, checks them with the help of Redis, and stores the jobs.

Knows no route and no response. `submit_and_follow` is the use case; it uses `submission`, which
uses `admission`.
"""

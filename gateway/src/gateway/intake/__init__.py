"""Jobs in: bodies into Structs, the checks that need Redis, and the submission.

Knows no route and no answer.
"""

"""One folder for each surface of the API: what its requests ask for, its answers and its frames.

A surface calls `services.submit_and_follow` and encodes the outcome. To add one, add a folder
here, and its rows to `gateway.routes.table`.
"""

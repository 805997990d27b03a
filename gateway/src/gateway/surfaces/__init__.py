"""One folder for each surface of the API: its answers and its frames. Knows no route.

A route of a surface calls `services.submit_and_follow` and encodes the outcome with its
folder here. To add a surface, add a folder here, and its routes to `gateway.routes`.
"""

"""How fast Headrace is, compared in one run with alternatives that a person would choose, and with
the limit of Redis.

Each benchmark is one file. `peers/` has the other queues, as programs of their own. `results/` has
the figures that were kept, and `page` makes docs/performance.md from them.
"""

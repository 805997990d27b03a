"""How fast Headrace is, beside what a person would pick instead and beside the limit of Redis itself, in one run.

Each benchmark is one file. `peers/` has the other queues, as programs of their own. `results/` has the figures that
were kept, and `page` makes docs/performance.md from them.
"""

"""Writes texts token by token with a model that keeps a cache of keys and values.

`sequence` is one text. `scheduler` decides which of them run in a step, and knows no model. `form` reads the names and
shapes of a graph, `memory` holds the cache, `prefixes` the equal beginnings of prompts, and `runner` runs the graph.
`exactness` tries which runs give equal bits. `engine` joins them: it runs one step after another in a thread.
No part of it knows jobs, texts or how a token is chosen.
"""

"""Engines run a loaded model: they take rows and return the model's outputs.

`batching` joins rows that wait at the same time into one run. `decoding` writes texts with models that have a cache.
An engine knows neither jobs nor tasks. `session` is the only module that imports onnxruntime.
"""

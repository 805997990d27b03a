"""Runs published models. Knows neither torch nor how a model was trained.

`loading` holds the loaded models. `tasks/` has what differs between tasks. `engines/` runs a model: there, `batcher`
decides what is a batch and is pure, `batching` joins a batching and a compute task, and only `session` imports
onnxruntime.
"""

"""Runs published models. Knows neither torch nor how a model was trained.

`loading` keeps the loaded models. `tasks/` has one file for each task. `engines/` runs a model:
`batcher` decides which rows form a batch, `batching` forms and runs the batches, and only `session`
imports onnxruntime.
"""

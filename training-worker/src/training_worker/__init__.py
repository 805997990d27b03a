"""Trains models from a queue and publishes them as ONNX. Only the child process imports torch.

`handler` runs a job and supervises its child process, `child` trains, and `recipes/` holds the
built-in recipes. The parts that recipes are made of are in `recipe_kit`.
"""

"""Trains models from a queue and publishes them as ONNX. torch is imported in the child process alone.

`handler` supervises, `child` trains in a process of its own, and `recipes/` has the built-in types of models. What they
are made of is in `recipe_kit`.
"""

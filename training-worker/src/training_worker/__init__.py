"""Trains models from a queue and publishes them as ONNX. torch is imported in the child process alone."""

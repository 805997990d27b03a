"""Publishes ONNX files of users as models.

A file of a user may crash or exhaust what loads it. So a publishing worker is a process of its own,
and it leaves the file to a child process under limits. `handler` runs the job, `supervision` the
child, and `probing`, in the child, checks the file and runs the model once. Only the child loads
ONNX Runtime. `python -m inference_worker.publishing` starts the worker.
"""

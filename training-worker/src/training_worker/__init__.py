"""Trains models from a queue and publishes them as ONNX. torch is imported in the child process alone.

`handler` supervises, `child` trains in a process of its own, `trainer` is the loop. `csv_file` and `tables` read data,
`recipes/` has the model types, and `export` makes the ONNX file and checks it.
"""

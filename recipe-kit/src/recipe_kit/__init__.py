"""What a recipe needs, and no worker: a recipe is the training of one type of model.

`recipe` says what a recipe is. `tables`, `labels`, `scaling` and `tokens` read data, `trainer` is a training loop,
`optimiser` its optimiser, `checkpoint` saves and restores a run, and `export` makes the ONNX file and checks it. A
recipe uses the parts that it wants. Nothing here knows queues, Redis or processes.
"""

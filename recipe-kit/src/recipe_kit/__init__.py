"""The parts of a recipe. A recipe is the training of one type of model.

`recipe` defines what a recipe is, and `context` what it is given. `data`, `tables`, `labels`,
`scaling` and `tokens` read and prepare data. `trainer` is a training loop, `optimiser` its
optimiser, `checkpoint` saves and restores a run, and `export` makes and checks the ONNX file. A
recipe uses the parts that it wants. Nothing here knows queues, Redis or processes.
"""

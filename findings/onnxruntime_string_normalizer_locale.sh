#!/usr/bin/env bash
# ONNX Runtime's StringNormalizer needs the locale en_US.UTF-8, which slim container images do not have.
# Seen 2026-11-29 with onnxruntime 1.31.1 on Debian 12: a graph of one StringNormalizer that lowers letters does not load where
# `locale -a` does not list en_US.utf8. skl2onnx puts one before every TfidfVectorizer and CountVectorizer (lowercase=True is
# the default), so such a model loads on a desktop and fails in python:3.11-slim. Where the locale exists, the model loads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv venv --quiet --python 3.11 "$work/venv"
uv pip install --quiet --python "$work/venv/bin/python" onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

onnxruntime.set_default_logger_severity(4)


def run(op, x, rank=1, to=None, **attributes):
    """The one output, of so many dimensions, of a graph of one node, on the CPU."""
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    source = helper.make_tensor_value_info("x", kind, [None] * x.ndim)
    target = helper.make_tensor_value_info("y", to or kind, [None] * rank)
    node = helper.make_node(op, ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", [source], [target])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


import subprocess

known = subprocess.run(["locale", "-a"], capture_output=True, text=True).stdout.lower().split()
has_locale = any(name in known for name in ("en_us.utf8", "en_us.utf-8"))
source = helper.make_tensor_value_info("x", TensorProto.STRING, [None])
target = helper.make_tensor_value_info("y", TensorProto.STRING, [None])
node = helper.make_node("StringNormalizer", ["x"], ["y"], case_change_action="LOWER")
graph = helper.make_graph([node], "g", [source], [target])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
onnx.checker.check_model(model)
try:
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    loads = True
except Exception as error:
    loads = False
    print(str(error).splitlines()[0][-140:])
print("onnxruntime", onnxruntime.__version__, "| en_US.UTF-8 installed:", has_locale, "| the model loads:", loads)
sys.exit(0 if loads == has_locale else 1)
PY

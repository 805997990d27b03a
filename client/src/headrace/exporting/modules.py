"""Modules of PyTorch as ONNX files, by torch.onnx.export. Knows no gateway and no job.

The first dimension of every input counts rows, and varies. Of a model of texts the second varies too.
"""

import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import onnxscript  # noqa: F401 - torch.onnx.export needs it, and would say so later and less clearly
import torch
from torch import Tensor, nn

from headrace.errors import ExportFailed, InvalidJob
from headrace.exporting import Exported
from headrace.exporting.agreement import Trial, reason_of

# The inputs and the output that the task of a worker looks for; inputs of texts have the names of the parameters.
_INPUTS = {
    "tabular-classification": ("features",),
    "tabular-regression": ("features",),
    "image-classification": ("pixel_values",),
}
_OUTPUTS = {"tabular-regression": "prediction", "text-embedding": "last_hidden_state"}
_OF_TEXTS = frozenset({"rerank", "text-classification", "text-embedding", "text-generation", "token-classification"})
_MOST = 65_536


def export(module: nn.Module, example: object, given: Mapping[str, Any]) -> Exported:
    """example: what `forward` takes: a tensor or array, a tuple of them, or a mapping by the names of parameters;
    the first dimension of each counts rows. ExportFailed, InvalidJob."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ExportFailed("a module of TorchScript cannot be exported: give the module that it was made of")
    task = given.get("task") or "tensors"
    arguments = _arguments(module, example)
    if task in _OF_TEXTS and any(tensor.dim() < 2 for tensor in arguments.values()):
        raise InvalidJob("the inputs of a model of texts are [rows, length]")
    n_rows = {tensor.shape[0] for tensor in arguments.values()}
    if len(n_rows) != 1 or not n_rows - {0}:
        raise InvalidJob("the inputs of the example have different numbers of rows, or none")
    names = _INPUTS.get(task, tuple(arguments))
    if len(names) != len(arguments):
        raise InvalidJob(f"a {task} model takes {', '.join(names)}, and the example has {len(arguments)} inputs")
    with _as_served(module):
        first = _answers(module, arguments, task, given)
        program = _program(module, arguments, names, list(first), is_text=task in _OF_TEXTS)
        contents = contents_of(program)
        trial = Trial(contents)
        # A dimension that the export has made constant by accident is found with another number of rows.
        for what, rows in _samples(arguments, is_text=task in _OF_TEXTS):
            expected = _answers(module, rows, task, given)
            inputs = {name: _array(tensor) for name, tensor in zip(names, rows.values(), strict=True)}
            trial.compare(inputs, {name: _array(tensor) for name, tensor in expected.items()}, what)
    return Exported(contents=contents, shown={"task": task})


def _samples(arguments: Mapping[str, Tensor], *, is_text: bool) -> Iterator[tuple[str, dict[str, Tensor]]]:
    yield "the example", dict(arguments)
    yield "one row of the example", {name: tensor[:1] for name, tensor in arguments.items()}
    yield "the example twice", {name: torch.cat([tensor, tensor]) for name, tensor in arguments.items()}
    if is_text:
        yield "half of each text", {name: tensor[:, : (tensor.shape[1] + 1) // 2] for name, tensor in arguments.items()}


def contents_of(program: Any) -> bytes:
    """The file of an ONNXProgram, with its weights. ExportFailed if it is too large for one file."""
    try:
        return bytes(program.model_proto.SerializeToString())
    except Exception as error:  # protobuf's class depends on how protobuf was built
        raise ExportFailed(f"the model is no single ONNX file: {reason_of(error)}") from error


def _program(
    module: nn.Module, arguments: Mapping[str, Tensor], inputs: Sequence[str], outputs: list[str], *, is_text: bool
) -> Any:
    batch = torch.export.Dim("batch", min=1, max=_MOST)
    length = torch.export.Dim("length", min=1, max=_MOST)
    shapes = tuple({0: batch, 1: length} if is_text else {0: batch} for tensor in arguments.values())
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                module,
                tuple(_own(tensor) for tensor in arguments.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as error:  # anything that the module's own code, or the tracer, may raise
        raise ExportFailed(f"PyTorch cannot export this module: {reason_of(error.__cause__ or error)}") from error
    finally:
        log.setLevel(level)


def _own(tensor: Tensor) -> Tensor:
    """With a single row, torch.export would make the batch dimension constant. Given one tensor for two inputs,
    it would read the same one for both."""
    return torch.cat([tensor, tensor]) if len(tensor) == 1 else tensor.clone()


def _answers(module: nn.Module, rows: Mapping[str, Tensor], task: str, given: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the module answers, by the names of outputs."""
    try:
        answer = module(*rows.values())
    except Exception as error:  # whatever the module raises
        raise ExportFailed(f"the module does not take the example: {reason_of(error)}") from error
    if isinstance(answer, Mapping):
        found = {str(name): each for name, each in answer.items() if each is not None}
    elif isinstance(answer, tuple | list):
        found = {f"output_{place}": each for place, each in enumerate(answer)}
    else:
        found = {"output": answer}
    if not found or not all(isinstance(each, Tensor) for each in found.values()):
        raise ExportFailed(
            "the module answers with something else than a tensor, a list of tensors or tensors by names"
        )
    wanted = _output_of(task, given)
    if wanted is not None and wanted not in found:
        found = {wanted if place == 0 else name: each for place, (name, each) in enumerate(found.items())}
    return found


def _output_of(task: str, given: Mapping[str, Any]) -> str | None:
    """The output that the task reads."""
    if task == "tensors":
        return None
    embedding = given.get("embedding")
    if isinstance(embedding, Mapping) and embedding.get("pooling", "") is None:
        return "sentence_embedding"
    return _OUTPUTS.get(task, "logits")


def _arguments(module: nn.Module, example: object) -> dict[str, Tensor]:
    """By the names of the parameters of `forward`, in their order."""
    held = [each for each in (*module.parameters(), *module.buffers()) if each.is_floating_point()]
    like = held[0] if held else torch.zeros(())
    signature = inspect.signature(module.forward)
    try:
        if isinstance(example, Mapping):
            bound = signature.bind(**example)
        else:
            bound = signature.bind(*(example if isinstance(example, tuple) else (example,)))
    except TypeError as error:
        raise InvalidJob(f"forward does not take the example: {error}") from None
    kinds = {signature.parameters[name].kind for name in bound.arguments}
    if kinds - {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD} or bound.kwargs:
        raise InvalidJob("forward takes the example by * or by keyword only: give a module whose inputs have places")
    if list(bound.arguments) != list(signature.parameters)[: len(bound.arguments)]:
        raise InvalidJob("the example leaves out an input between others")
    return {name: _tensor(value, name, like) for name, value in bound.arguments.items()}


def _tensor(value: Any, name: str, like: Tensor) -> Tensor:
    """like: a tensor of the module. What is no tensor yet gets its dtype, unless it holds no fractions."""
    if isinstance(value, Tensor):
        tensor = value.detach()
    else:
        try:
            tensor = torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError):
            raise InvalidJob(f"{name} in the example is no tensor and no array of numbers") from None
        if tensor.is_floating_point():
            tensor = tensor.to(like.dtype)
    if not tensor.dim():
        raise InvalidJob(f"{name} in the example has no rows")
    return tensor.to(like.device)


def _array(tensor: Tensor) -> Any:
    try:
        return tensor.detach().cpu().numpy()
    except TypeError as error:  # numpy has no bfloat16
        raise ExportFailed(f"the module cannot be compared with its file: {reason_of(error)}") from error


@contextmanager
def _as_served(module: nn.Module) -> Iterator[None]:
    """As a worker runs it: without what only training does. Afterwards it is as before."""
    modes = {each: each.training for each in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for each, mode in modes.items():
            each.training = mode

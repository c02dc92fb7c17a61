"""Graphs of numbers as functions: from arrays by name to arrays by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Arrays = dict[str, Any]
"""NumPy arrays by name."""
Graph = Callable[[Mapping[str, Any]], Arrays]
"""Computes outputs of inputs; inputs that it does not know are left out."""


def load_graph(path: Path) -> Graph:
    """Loads a graph with the runtime that its ending names.

    Args:
        path: A `.tflite` or `.onnx` file.
    """
    return {".tflite": _litert, ".onnx": _onnx}[path.suffix](path)


def _litert(path: Path) -> Graph:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    shapes = {name: detail["shape"] for name, detail in runner.get_input_details().items()}

    def call(inputs: Mapping[str, Any]) -> Arrays:
        outputs: Arrays = runner(**{name: inputs[name] for name in shapes})
        return outputs

    return call


def _onnx(path: Path) -> Graph:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    outputs = [tensor.name for tensor in session.get_outputs()]

    def call(inputs: Mapping[str, Any]) -> Arrays:
        given = {name: inputs[name] for name in names}
        return dict(zip(outputs, session.run(outputs, given), strict=True))

    return call

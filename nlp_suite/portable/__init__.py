"""Reads what `export --format litert` and `--format onnx` write, without TensorFlow.

It needs NumPy and the format's runtime alone: ai-edge-litert or onnxruntime. Every such export
holds a copy of this package under the name `reader`, so that it also needs no `nlp_suite`.
"""

from __future__ import annotations

from .reader import Classifier, Reader, Writer, load
from .vocabulary import load_vocabulary

__all__ = ["Classifier", "Reader", "Writer", "load", "load_vocabulary"]

"""Calls an export as a stranger would: in a process that can import TensorFlow alone.

    python -I tests/call_alone.py EXPORTED < requests.jsonl

Each line of stdin is a JSON object: the signature, its options, and its inputs as base64 or lists
of base64. Each line of stdout holds the outputs, or the refusal, and how many bytes the process's
peak of memory grew.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
from typing import Any


def main() -> None:
    """Answers the requests of stdin."""
    for name in ("nlp_suite", "tasks", "keras"):
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails from now on

    import tensorflow as tf

    signatures = tf.saved_model.load(sys.argv[1]).signatures
    for line in sys.stdin:
        request, before = json.loads(line), peak()
        inputs = {name: tf.constant(raw(value)) for name, value in request["inputs"].items()}
        options = {name: tf.constant(value) for name, value in request["options"].items()}
        try:
            outputs = signatures[request["signature"]](**inputs, **options)
            answer: Any = {"outputs": {name: readable(v) for name, v in outputs.items()}}
        except tf.errors.InvalidArgumentError as error:
            answer = {"refused": str(error)}
        print(json.dumps({**answer, "grown": peak() - before}), flush=True)


def raw(value: Any) -> Any:
    """Reads base64, at any depth of lists."""
    if isinstance(value, list):
        return [raw(item) for item in value]
    return base64.b64decode(value)


def readable(tensor: Any) -> Any:
    """Makes plain values of a tensor, bytes decoded."""
    value = tensor.numpy()
    return text(value if isinstance(value, bytes) else value.tolist())


def text(value: Any) -> Any:
    """Decodes bytes, at any depth of lists."""
    if isinstance(value, list):
        return [text(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def peak() -> int:
    """Gives the most memory that the process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

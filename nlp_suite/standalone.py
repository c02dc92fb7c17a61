"""Answers raw inputs with an exported model, as a stranger would: with TensorFlow alone.

    python nlp_suite/standalone.py EXPORTED < inputs.jsonl

Each line of stdin is a JSON object of raw inputs in base64, such as {"text": "c28gZ29vZA=="}; each
line of stdout is its answer. Importing anything of this project fails here, and so does importing
Keras: what works in this program works wherever TensorFlow does.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any


def main() -> None:
    """Answers the inputs of stdin in one batch."""
    for name in ("nlp_suite", "tasks", "keras"):
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails from now on

    import tensorflow as tf

    rows = [json.loads(line) for line in sys.stdin]
    predict = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
    columns = {name: tf.constant([base64.b64decode(row[name]) for row in rows]) for name in rows[0]}
    # Sorted, since a SavedModel keeps its outputs in no order.
    outputs = {name: v.numpy().tolist() for name, v in sorted(predict(**columns).items())}
    for answer in zip(*outputs.values(), strict=True):
        print(json.dumps(dict(zip(outputs, map(_text, answer), strict=True))))


def _text(value: Any) -> Any:
    """Decodes bytes, at any depth of lists."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()

"""What is said of an export: `signature.json` for programs, `model_card.md` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

import nlp_suite
from nlp_suite.task import Signature, Task

ONE_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)
"""A small PNG in base64, so that an example request can be sent as it is."""


def describe(
    task: Task[Any], signatures: Mapping[str, Signature], functions: Mapping[str, Any]
) -> dict[str, Any]:
    """Says in plain values how an export is called and what it answers.

    Args:
        task: The task.
        signatures: Its signatures by name.
        functions: The graph function of each.

    Returns:
        The content of `signature.json`: task, summary, signatures, an example request, versions.
    """
    return {
        "task": task.name,
        "summary": (type(task).__doc__ or "").strip().partition("\n")[0],
        "signatures": {
            name: {
                "inputs": {key: _describe_tensor(spec) for key, spec in signature.inputs.items()},
                "options": dict(signature.options),
                "outputs": {
                    key: _describe_tensor(spec)
                    for key, spec in functions[name]
                    .get_concrete_function()
                    .structured_outputs.items()
                },
            }
            for name, signature in signatures.items()
        },
        "example_request": {
            "signature_name": "serving_default",
            "instances": [{name: _example(name) for name in task.serving_inputs}],
        },
        "versions": {
            "nlp_suite": nlp_suite.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _describe_tensor(spec: Any) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}


def _example(name: str) -> Any:
    return {"b64": ONE_PIXEL} if name == "image" else "A short example."


def _literal(name: str) -> str:
    """An example of a raw input as Python code."""
    return 'open("image.png", "rb").read()' if name == "image" else repr(_example(name))


def model_card(
    task: Task[Any], version: int, description: Mapping[str, Any], metrics: Mapping[str, Any]
) -> str:
    """Writes the page that tells a stranger what an export is.

    After Mitchell et al. 2019, https://arxiv.org/abs/1810.03993.

    Args:
        task: The task.
        version: The export's number.
        description: What `describe` returned.
        metrics: What the model scored; empty when it was not evaluated.

    Returns:
        Markdown.
    """
    arguments = ", ".join(f"{name}=tf.constant([{_literal(name)}])" for name in task.serving_inputs)
    request = json.dumps(description["example_request"], indent=2)
    versions_used = ", ".join(f"{k} {v}" for k, v in description["versions"].items())
    data = f"`{task.config.data}`"
    if task.config.data == "builtin":
        data += f", whose source and licence are in tasks/{task.name}/data/README.md"
    measured = json.dumps(metrics, indent=2) if metrics else "Not evaluated before the export."
    return f"""# {task.name}, version {version}

{description["summary"]}

## Use

    import tensorflow as tf
    model = tf.saved_model.load("{version}")
    print(model.signatures["serving_default"]({arguments}))

`signature.json` lists the signatures with their inputs, options and outputs. A request to
TensorFlow Serving:

{_indented(request)}

A SavedModel is a program and can read files: load only those you trust.

## Training

Data: {data}. What the model says derives from it: its licence and its limits apply. Settings:

{_indented(json.dumps(asdict(task.config), indent=2))}

## Metrics

{_indented(measured)}

## Versions and licence

Made with {versions_used}. The code is licensed under Apache-2.0.
"""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())

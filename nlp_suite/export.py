"""SavedModels that stand alone: raw text or image bytes in, finished answers out.

An export is a numbered folder that needs TensorFlow and nothing of this project: the tokenizers and
the decoding loop are in its graph. Beside the graph lie `signature.json`, for programs, and
`model_card.md`, for people.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from nlp_suite.answering import Prediction, Tensors, answers
from nlp_suite.datasets import Example
from nlp_suite.errors import UserError
from nlp_suite.files import write_beside
from nlp_suite.layers import disable_cudnn
from nlp_suite.model_card import describe, model_card
from nlp_suite.signatures import Signature
from nlp_suite.task import Task

SIGNATURE_FILE = "signature.json"


def export(
    task: Task[Any], model: keras.Model, to: Path, metrics: Mapping[str, Any] | None = None
) -> Path:
    """Writes a SavedModel that answers raw inputs on any machine, as the next version in `to`.

    Every signature of the task becomes a signature of the SavedModel. The weights are stored once,
    the optimizer is left out, and the recurrent layers are traced without cuDNN, whose kernels
    would bind the file to machines with a GPU; `model` stays so afterwards.

    Args:
        task: The task, with its tokenizers.
        model: Its trained model.
        to: The folder of versions, such as `saved_models/sentiment/exported`.
        metrics: What the model scored, for the model card.

    Returns:
        The new folder: `to/1` at first, then `to/2`, …
    """
    disable_cudnn(model)
    signatures = task.signatures(model)
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.tokenizers = task.tokenizers
    for name, signature in signatures.items():
        setattr(module, name, _graph_function(name, signature))
    version = max(versions(to), default=0) + 1
    with write_beside(to / str(version)) as folder:
        functions = {name: getattr(module, name) for name in signatures}
        tf.saved_model.save(module, str(folder), signatures=functions)
        description = describe(task, signatures, functions)
        (folder / SIGNATURE_FILE).write_text(json.dumps(description, indent=2), encoding="utf-8")
        card = model_card(task, version, description, metrics or {})
        (folder / "model_card.md").write_text(card, encoding="utf-8", errors="backslashreplace")
    return to / str(version)


def versions(folder: Path) -> list[int]:
    """Lists the versions exported to a folder, oldest first.

    Args:
        folder: A folder of numbered folders; it may be missing.

    Returns:
        Their numbers in ascending order.

    Example:
        >>> versions(Path("saved_models/nothing/exported"))
        []
    """
    if not folder.is_dir():
        return []
    return sorted(int(child.name) for child in folder.iterdir() if child.name.isdecimal())


class ExportedModel:
    """A SavedModel of any task, loaded with TensorFlow alone.

    Args:
        path: A version's folder, or the folder of versions, whose newest is taken.

    Raises:
        UserError: If there is no export.
    """

    def __init__(self, path: Path) -> None:
        if numbers := versions(path):
            path = path / str(numbers[-1])
        if not (path / SIGNATURE_FILE).is_file():
            raise UserError(
                f"`exported` must be a folder that `export` wrote. Received: exported={path}"
            )
        self.path = path
        self.description = json.loads((path / SIGNATURE_FILE).read_text(encoding="utf-8"))
        self._loaded = tf.saved_model.load(str(path))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The raw inputs of `serving_default` by name."""
        return tuple(self.description["signatures"]["serving_default"]["inputs"])

    def predictions(
        self,
        examples: Iterable[Example],
        batch_size: int = 64,
        signature: str = "serving_default",
        **options: float,
    ) -> Iterator[Prediction]:
        """Answers many raw inputs, in their order.

        Args:
            examples: A value for each input of the signature.
            batch_size: Examples answered together.
            signature: One of the export's signatures.
            **options: Options of the signature that are not to have their default.

        Returns:
            The outputs for each example, as plain Python values.

        Raises:
            UserError: While they are read: an input is one that the graph refuses, such as an
                image that is none.
        """
        description = self.description["signatures"][signature]
        chosen = {
            name: tf.constant(type(default)(options.get(name, default)))
            for name, default in description["options"].items()
        }
        answer = partial(self._loaded.signatures[signature], **chosen)
        takes_one = all(not tensor["shape"] for tensor in description["inputs"].values())
        if takes_one:
            batch_size = 1

        def outputs(batch: Tensors) -> Tensors:
            named = _alone(answer, batch) if takes_one else answer(**batch)
            return {name: named[name] for name in description["outputs"]}

        return answers(outputs, examples, tuple(description["inputs"]), batch_size)


def _alone(answer: Callable[..., Tensors], batch: Tensors) -> Tensors:
    """Calls a signature of one example with a batch of one."""
    outputs = answer(**{name: values[0] for name, values in batch.items()})
    return {name: value[tf.newaxis] for name, value in outputs.items()}


def _graph_function(name: str, signature: Signature) -> Callable[..., Any]:
    """Makes the graph function of a signature, with its options as arguments that have defaults.

    TensorFlow reads names and defaults from the Python signature, so one is made to measure: the
    defaults are then stored in the SavedModel and `loaded.beam(text)` uses them.
    """
    defaults = {name: tf.constant(value) for name, value in signature.options.items()}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call_signature = inspect.Signature(
        [inspect.Parameter(name, kind) for name in signature.inputs]
        + [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
    )

    def call(*args: Any, **kwargs: Any) -> Any:
        arguments = call_signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        return signature.function(**arguments.arguments)

    call.__name__ = name
    call.__signature__ = call_signature  # type: ignore[attr-defined]
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in signature.inputs.items()
    ] + [tf.TensorSpec([], value.dtype, name=name) for name, value in defaults.items()]
    return tf.function(call, input_signature=specs, autograph=False)

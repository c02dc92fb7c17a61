"""The ways in which a model can be called from outside: with strings, or with numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Signature:
    """One way to call an exported model.

    Attributes:
        function: Graph code from inputs (and `options` by name) to outputs by name.
        inputs: What it takes; raw inputs have an unknown batch size.
        options: Scalar arguments with their defaults, such as `{"beam_width": 4}`.
    """

    function: Callable[..., Any]
    inputs: Mapping[str, tf.TensorSpec]
    options: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Portable:
    """The part of a model that maps numbers to numbers, which runtimes without strings hold too.

    `nlp_suite.portable` reads the graphs that it names: `classify`, or `step` and mostly `start`.

    Attributes:
        graphs: The graphs by name, each for a batch of one.
        reading: What the reader has to know, such as the name of the vocabulary; fit for JSON.
    """

    graphs: Mapping[str, Signature]
    reading: Mapping[str, Any]


def single(signature: Signature) -> Signature:
    """Makes the signature that takes one example: scalars in, the outputs of one example out.

    Args:
        signature: A signature of batches.

    Example:
        >>> batched = Signature(lambda text: {"text": text + "!"}, {"text": tf.TensorSpec([None])})
        >>> alone = single(batched)
        >>> alone.inputs["text"].shape, alone.function(text=tf.constant("so good"))["text"].numpy()
        (TensorShape([]), b'so good!')
    """

    def call(**inputs: Any) -> dict[str, Any]:
        outputs = signature.function(**{name: value[None] for name, value in inputs.items()})
        return {name: values[0] for name, values in outputs.items()}

    scalars = {n: tf.TensorSpec(spec.shape[1:], spec.dtype) for n, spec in signature.inputs.items()}
    return Signature(call, scalars, signature.options)


def step_graphs(
    step: Callable[..., Any], starting: Signature
) -> tuple[dict[str, Signature], dict[str, tf.TensorSpec]]:
    """Makes graphs of a model that writes, whose nested states become tensors with numbered names.

    Args:
        step: From tokens, state and context to logits, the next state, and the attention or None.
        starting: From a `source`, or nothing, to the first state and the context.

    Returns:
        `step`, and `start` where there is a source; the state and the context as they begin.
    """
    begin = tf.function(starting.function, autograph=False)
    state, context = begin.get_concrete_function(**starting.inputs).structured_outputs

    def start(**source: Any) -> dict[str, Any]:
        first, constant = begin(**source)
        return {**_numbered("state", first), **_numbered("context", constant)}

    def one_step(token: Any, **given: Any) -> dict[str, Any]:
        before, constant = (
            tf.nest.pack_sequence_as(like, [given[key] for key in _numbered(name, like)])
            for name, like in (("state", state), ("context", context))
        )
        logits, after, attention = step(token, before, constant)
        # Named unlike the inputs: ONNX has one name for one tensor.
        outputs = {"log_probabilities": tf.nn.log_softmax(logits), **_numbered("next_state", after)}
        return outputs if attention is None else {**outputs, "attention": attention}

    tensors = {**_numbered("state", state), **_numbered("context", context)}
    specs = {name: tf.TensorSpec(like.shape, like.dtype, name) for name, like in tensors.items()}
    token = tf.TensorSpec([1], tf.int32, "token")
    graphs = {"step": Signature(one_step, {"token": token, **specs})}
    if starting.inputs:
        graphs["start"] = Signature(start, starting.inputs)
    return graphs, specs


def _numbered(name: str, nested: Any) -> dict[str, Any]:
    """Names the tensors of a nested state or context `state_0`, `state_1` and so on."""
    return {f"{name}_{i}": tensor for i, tensor in enumerate(tf.nest.flatten(nested))}

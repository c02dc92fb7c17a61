"""The recurrence for CPUs is Keras's: the same values and gradients, whatever the way there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import Array, arrays, assert_close, gradients, policy, random, randomize

from nlp_suite.layers import RNNStack, disable_cudnn, rnn

tf = pytest.importorskip("tensorflow", reason="it is written for TensorFlow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="it is written for TensorFlow"
)

CELLS = ["simple", "gru", "lstm"]
MASK = np.arange(5) < np.array([[5], [2], [1], [4]])
NO_MASK = None


def state_of(cell: str, seed: int) -> list[Array]:
    return [random(4, 3, seed=seed + part) for part in range(2 if cell == "lstm" else 1)]


def values_and_gradients(layer: Any, mask: Array | None, *, graph: bool) -> list[Any]:
    """Gives outputs at real steps, final state, and the gradients of everything that goes in."""
    inputs = tf.Variable(random(4, 5, 2))
    state = [tf.Variable(part) for part in state_of(layer.name, seed=5)]
    weights = [weight.value for weight in layer.trainable_weights]
    real = np.ones([4, 5], bool) if mask is None else mask
    real = real[:, ::-1] if layer.go_backwards else real

    def run() -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            outputs, *end = layer(
                inputs + 0.0, mask=mask, initial_state=[s + 0.0 for s in state], training=True
            )
            outputs *= real[..., None]
            measured = [outputs * random(4, 5, 3, seed=8)]
            measured += [a * b for a, b in zip(end, state_of(layer.name, seed=9), strict=True)]
            loss = sum(tf.reduce_sum(part) for part in measured)
        return [outputs, *end], tape.gradient(loss, [inputs, *state, *weights])

    return keras.tree.flatten((tf.function(run) if graph else run)())


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", [NO_MASK, MASK], ids=["no_mask", "mask"])
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients_are_those_of_keras(
    cell: str, mask: Array | None, backwards: bool, parts: int, graph: bool
) -> None:
    ours = rnn(cell, 3, go_backwards=backwards, parts=parts, name=cell)
    ours.build((4, 5, 2))
    randomize(ours)
    stock = type(ours).__mro__[2](
        3, return_sequences=True, return_state=True, go_backwards=backwards, name=cell
    )
    stock.build((4, 5, 2))
    stock.set_weights(ours.get_weights())
    assert type(stock).__module__.startswith("keras.")
    expected = values_and_gradients(stock, mask, graph=graph)
    assert_close(values_and_gradients(ours, mask, graph=graph), expected, 1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_more_parts_than_rows_change_nothing(cell: str) -> None:
    layer = rnn(cell, 3, parts=8)
    outputs = layer(random(2, 5, 2), training=True)
    assert_close(outputs, layer(random(2, 5, 2)), 1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_under_mixed_precision_only_products_lose_digits(cell: str) -> None:
    """States stay float32 from step to step, and so are close after many of them."""
    exact = rnn(cell, 8)
    exact(random(4, 60, 8))
    with policy("mixed_bfloat16"):
        mixed = rnn(cell, 8)
        mixed(random(4, 60, 8))
    mixed.set_weights(exact.get_weights())
    outputs, *_ = mixed(random(4, 60, 8))
    assert outputs.dtype == tf.bfloat16
    assert_close(outputs, exact(random(4, 60, 8))[0], 0.03)


@pytest.mark.parametrize("cell", CELLS)
def test_the_recurrent_kernel_is_learned_in_one_product(cell: str) -> None:
    """The loops of a training step hold one product each: no kernel's gradient in any step."""
    layer = rnn(cell, 3, parts=1)
    layer.build((None, None, 2))

    @tf.function(input_signature=[tf.TensorSpec([None, None, 2])])
    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(inputs, training=True)[0])
        return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

    graph = step.get_concrete_function().graph
    bodies = [
        graph._get_function(op.get_attr("body").name).graph
        for op in graph.get_operations()
        if op.type in ("While", "StatelessWhile")
    ]
    products = [sum(op.type == "MatMul" for op in body.get_operations()) for body in bodies]
    assert products == [1, 1]


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_the_same_without_a_loop_of_their_own(cell: str) -> None:
    layer = rnn(cell, 3)
    layer.build((None, None, 2))
    inputs, weights = random(4, 5, 2), layer.trainable_weights

    def loss(training: bool) -> Any:
        return tf.reduce_sum(layer(inputs, training=training)[0] ** 2)

    one = gradients(lambda: loss(training=False), weights)
    other = gradients(lambda: loss(training=True), weights)
    assert_close(one, other, 1e-5)


def test_an_export_traced_beside_a_gpu_holds_plain_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nlp_suite.layers import cpu_recurrence

    monkeypatch.setattr(cpu_recurrence, "is_faster", lambda: False)
    calls, read = [], cpu_recurrence.read

    def spy(cell: str, *args: Any, **kwargs: Any) -> Any:
        calls.append(cell)
        return read(cell, *args, **kwargs)

    monkeypatch.setattr(cpu_recurrence, "read", spy)
    stack = RNNStack("lstm", 3, 2, bidirectional=True, forward_layers=1)
    outputs, _ = stack(random(2, 4, 3))
    assert calls == []
    disable_cudnn(stack)
    assert_close(arrays(stack(random(2, 4, 3))[0]), arrays(outputs), 1e-6)
    assert calls == ["lstm"] * 3

"""What the tests of the layers share: small inputs, and gradients under every Keras backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import pytest

Array = np.ndarray[Any, Any]

MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], bool)
"""Four right-padded rows of four steps; the third is all padding."""


def random(*shape: int, seed: int = 0) -> Array:
    """Draws float32 numbers around zero."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer: keras.layers.Layer, seed: int = 1) -> None:
    """Draws every weight anew, so that no test passes because a bias is zero."""
    for weight in layer.trainable_weights:
        seed += 1
        weight.assign(0.5 * random(*weight.shape, seed=seed))


def arrays(structure: Any) -> Any:
    """Turns tensors in any structure into float arrays."""
    return keras.tree.map_structure(
        lambda tensor: np.asarray(keras.ops.convert_to_numpy(tensor), dtype="float64"), structure
    )


def assert_close(left: Any, right: Any, tolerance: float) -> None:
    """Compares tensors in structures of the same kind."""
    left, right = keras.tree.flatten(arrays(left)), keras.tree.flatten(arrays(right))
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


def gradients(loss: Callable[[], Any], weights: list[Any]) -> list[Array | None]:
    """Differentiates a loss by Keras variables; None where it does not depend on one."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        found = tape.gradient(value, [weight.value for weight in weights])
        return [None if g is None else tf.convert_to_tensor(g).numpy() for g in found]
    import jax

    def by_values(values: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return loss()

    return [np.asarray(g) for g in jax.grad(by_values)([weight.value for weight in weights])]


def assert_gradients_are_numeric(loss: Callable[[], Any], weights: list[Any]) -> None:
    """Compares gradients in float64 with the loss's difference along one random direction."""
    found = gradients(loss, weights)
    values = [keras.ops.convert_to_numpy(weight) for weight in weights]
    generator = np.random.default_rng(0)
    directions = [generator.normal(size=value.shape) for value in values]
    step, ends = 1e-6, []
    for sign in (1, -1):
        for weight, value, direction in zip(weights, values, directions, strict=True):
            weight.assign(value + sign * step * direction)
        ends.append(float(loss()))
    slope = sum(np.sum(g * d) for g, d in zip(found, directions, strict=True))
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


@contextmanager
def float64() -> Iterator[None]:
    """Makes layers compute in float64."""
    if keras.backend.backend() == "jax":
        pytest.skip("Keras's recurrent loop on JAX computes in float32")
    with policy("float64"):
        yield


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Makes layers with another dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

"""Cross entropy, in values and gradients, beside TensorFlow's own and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nlp_suite.losses import cross_entropy

LOGITS = np.random.default_rng(0).normal(size=[3, 4, 5]).astype("float32") * 4
TARGETS = np.random.default_rng(1).integers(0, 5, [3, 4]).astype("int32")
WEIGHTS = np.random.default_rng(2).random([3, 4]).astype("float32")


def value_and_gradient(function: Any) -> tuple[Any, Any]:
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = function(logits)
        total = tf.reduce_sum(losses * WEIGHTS)
    return losses.numpy(), tape.gradient(total, logits).numpy()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_tensorflows_in_values_and_gradients(smoothing: float) -> None:
    spread = (1 - smoothing) * np.eye(5, dtype="float32")[TARGETS] + smoothing / 5
    expected = value_and_gradient(lambda x: tf.nn.softmax_cross_entropy_with_logits(spread, x))
    found = value_and_gradient(lambda x: cross_entropy(x, tf.constant(TARGETS), smoothing))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_classes_need_no_time_axis() -> None:
    losses = cross_entropy(tf.math.log([[0.2, 0.8], [0.5, 0.5]]), tf.constant([1, 0]))
    np.testing.assert_allclose(losses, -np.log([0.8, 0.5]), atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_hopeless_target_costs_the_distance_of_its_logit(offset: float) -> None:
    """Where the probability itself is too small for a float."""
    logits = tf.constant([[500.0, 0.0, -500.0]]) + offset
    assert cross_entropy(logits, tf.constant([2])).numpy().tolist() == [1000.0]
    assert cross_entropy(logits, tf.constant([0])).numpy().tolist() == [0.0]


def test_a_loss_that_is_no_number_stays_none() -> None:
    assert np.isnan(cross_entropy(tf.constant([[np.nan, 0.0]]), tf.constant([1])).numpy()).all()

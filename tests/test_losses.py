"""Cross entropy, whole, in parts and sampled, beside TensorFlow's own and by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from nlp_suite import losses
from nlp_suite.layers import Candidates, LazyLogits, draw_candidates
from nlp_suite.losses import cross_entropy, margin

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
    targets = tf.constant(TARGETS)
    found = value_and_gradient(lambda x: cross_entropy(x, targets) + smoothing * margin(x, targets))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_smoothing_spreads_a_share_of_given_probabilities_too() -> None:
    logits, targets = tf.constant(LOGITS), tf.nn.softmax(tf.constant(LOGITS[..., ::-1]))
    smoothed = tf.nn.softmax_cross_entropy_with_logits(0.9 * targets + 0.1 / 5, logits)
    losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    np.testing.assert_allclose(losses + 0.1 * margin(logits, targets), smoothed, atol=1e-5)


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


HIDDEN = np.random.default_rng(3).normal(size=[3, 4, 6]).astype("float32")
KERNEL = np.random.default_rng(4).normal(size=[5, 6]).astype("float32")
BIAS = np.random.default_rng(5).normal(size=[5]).astype("float32")


def of_factors(make: Any, dtype: str = "float32") -> list[Any]:
    """Value of the smoothed loss, weighted token by token, and its gradients."""
    factors = [tf.constant(value) for value in (HIDDEN, KERNEL, BIAS)]
    targets = tf.constant(TARGETS)
    with tf.GradientTape() as tape:
        tape.watch(factors)
        logits = make(tf.cast(factors[0], dtype), *factors[1:])
        values = cross_entropy(logits, targets) + 0.1 * margin(logits, targets)
        total = tf.reduce_sum(values * WEIGHTS)
    return [values, *map(tf.convert_to_tensor, tape.gradient(total, factors))]


def whole(hidden: Any, kernel: Any, bias: Any) -> Any:
    dtype = hidden.dtype
    product = tf.matmul(hidden, tf.cast(kernel, dtype)[tf.newaxis], transpose_b=True)
    return tf.cast(product, tf.float32) + bias


@pytest.mark.parametrize("scores", [1, 11, 25, 1_000])
def test_in_parts_it_is_what_it_is_as_a_whole(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token at a time, two and five, with a rest, and all at once."""
    monkeypatch.setattr(losses, "SCORES", scores)
    lazy = tf.function(lambda: of_factors(LazyLogits), autograph=False)()
    for found, expected in zip(lazy, of_factors(whole), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_sums_are_exact(dtype: str) -> None:
    """Only products are rounded, to 8 bits at least."""
    lazy = of_factors(LazyLogits, dtype)
    for found, expected in zip(lazy, of_factors(whole, dtype), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.03)


def test_sampling_all_tokens_changes_nothing() -> None:
    candidates = draw_candidates(5, 5, keras.random.SeedGenerator(0))
    sampled = of_factors(partial(LazyLogits, candidates=candidates))
    for found, expected in zip(sampled, of_factors(whole), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_sampled_it_is_tensorflows_of_the_same_candidates() -> None:
    """Of a target among the candidates, too, which must not count twice."""
    candidates = Candidates(tf.constant([3, 0]), tf.math.log([0.9, 0.5, 0.3, 0.2, 0.1]))
    chances = tf.exp(candidates.log_chances)
    targets = TARGETS.ravel()
    assert {0, 3} & set(targets)
    assert {1, 2, 4} & set(targets)
    expected = tf.nn.sampled_softmax_loss(
        KERNEL,
        BIAS,
        targets[:, np.newaxis].astype("int64"),
        HIDDEN.reshape([-1, 6]),
        num_sampled=2,
        num_classes=5,
        sampled_values=(
            tf.cast(candidates.ids, tf.int64),
            tf.gather(chances, targets)[:, tf.newaxis],
            tf.gather(chances, candidates.ids),
        ),
    )
    lazy = LazyLogits(tf.constant(HIDDEN), KERNEL, BIAS, candidates)
    found = cross_entropy(lazy, tf.constant(TARGETS))
    np.testing.assert_allclose(tf.reshape(found, [-1]), expected, atol=1e-5)


def test_tokens_are_drawn_as_often_as_their_chances_say() -> None:
    """So a sum over the drawn ones, by their chances, is that over all in the mean."""
    seed = keras.random.SeedGenerator(0)
    draw = tf.function(lambda: draw_candidates(8, 3, seed))
    counts, weights = np.zeros(8), np.zeros(8)
    for _ in range(2000):
        ids, log_chances = (value.numpy() for value in draw())
        assert len(set(ids)) == 3
        counts[ids] += 1
        weights[ids] += np.exp(-log_chances[ids])
    assert (np.diff(counts[[0, 2, 5]]) < 0).all()
    np.testing.assert_allclose(weights / 2000, 1, atol=0.15)

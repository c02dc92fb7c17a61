"""Networks that leave their logits to the loss learn the same, and may do with few candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import tiny_case

from nlp_suite.answering import batches
from nlp_suite.encoded import Array
from nlp_suite.errors import UserError
from nlp_suite.layers import Logits
from nlp_suite.step import Learner

SETTINGS: dict[str, dict[str, Any]] = {
    "language_modeling": {
        "activation_regularization": 2.0,
        "temporal_regularization": 1.0,
        "tie_weights": False,
    },
    "translation": {"label_smoothing": 0.1, "micro_batches": 2, "scheduled_sampling": 0.5},
    "captioning": {"label_smoothing": 0.1},
}


def make(name: str, *, is_lazy: bool = True, **settings: Any) -> Learner:
    """A learner whose updates are plain gradients; or one that computes all logits at once."""
    case = tiny_case(name)
    plain = {"precision": "float32", "optimizer": "sgd", "dropout": 0.2}
    case.task.config = replace(case.task.config, **plain, **settings)
    keras.utils.set_random_seed(1)
    network = case.task.build_model()
    if not is_lazy:
        whole = network.call_with_state if case.task.carries_state else network.__call__
        network.lazy_logits = whole
    learner = Learner(case.task, network, case.task.config, 6 * case.task.carries_state)
    learner.begin(learner.config.epochs - 1)
    return learner


def train(learner: Learner, steps: int = 2) -> float:
    """Takes some steps with six examples, and gives the loss."""
    (raw,) = batches(list(learner.task.examples("train"))[:6], 6)
    inputs, targets = learner.task.encode(raw)
    padded = {n: t.to_tensor() if isinstance(t, tf.RaggedTensor) else t for n, t in inputs.items()}
    data = tf.data.Dataset.from_tensors((padded, targets.to_tensor())).repeat(steps)
    return float(learner.fit(data, verbose=0, shuffle=False).history["loss"][-1])


def weights(learner: Learner) -> list[Array]:
    return [weight.numpy() for weight in learner.network.trainable_weights]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_is_the_same_as_with_all_logits_at_once(name: str) -> None:
    lazy, whole = (make(name, is_lazy=is_lazy, **SETTINGS[name]) for is_lazy in (True, False))
    before = weights(lazy)
    assert train(lazy) == pytest.approx(train(whole), rel=1e-6)
    for found, expected in zip(weights(lazy), weights(whole), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(weights(lazy), before, strict=True)) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["language_modeling", "translation"])
def test_a_run_that_goes_on_draws_the_candidates_it_would_have_drawn(name: str) -> None:
    whole, rest = make(name, sampled_softmax=20), make(name, sampled_softmax=20)
    train(whole)
    rest.set_state(whole.state())
    for learner in (whole, rest):
        train(learner)
    assert all(map(np.array_equal, weights(whole), weights(rest)))


def test_candidates_change_from_step_to_step_and_are_for_training_alone() -> None:
    layer, hidden = Logits(50, sampled_softmax=10), np.ones([1, 1, 4], np.float32)
    assert layer(hidden).shape == (1, 1, 50)
    drawn = [layer.lazy(hidden).candidates for _ in range(2)]
    first, second = (set(each.ids.numpy()) for each in drawn if each)
    assert len(first) == len(second) == 10
    assert first != second


def test_more_candidates_than_tokens_are_refused() -> None:
    with pytest.raises(UserError, match=r"below the 50 tokens .* sampled_softmax=50\."):
        Logits(50, sampled_softmax=50)

"""What language modeling alone does: a long text is scored in pieces side by side."""

from __future__ import annotations

import numpy as np
import pytest
from layer_checks import policy, randomize

from nlp_suite.layers import Logits, RNNStack, TokenEmbedding
from tasks.language_modeling import scoring
from tasks.language_modeling.cache import NeuralCache
from tasks.language_modeling.model import LanguageModel


def tiny_model() -> LanguageModel:
    model = LanguageModel(TokenEmbedding(12, 6), RNNStack("lstm", 8, 2), Logits(12))
    model({"tokens": np.ones([1, 2], int)})
    randomize(model)
    return model


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("count", [1, 2, 61, 100])
def test_a_text_scored_in_two_lanes_is_scored_as_one_text(
    count: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second lane begins with what is read in the first, not with a state of zeros."""
    with policy(precision):
        model = tiny_model()
    tokens = np.random.default_rng(0).integers(1, 12, count + 1)
    scores = []
    for lanes in (1, 2):
        monkeypatch.setattr(scoring, "LANES", lanes)
        scores.append(scoring.score_tokens(model, tokens[:-1], tokens[1:]))
    one, two = scores
    assert two.shape == (count,)
    np.testing.assert_allclose(two, one, atol=1e-5 if precision == "float32" else 0.02)


def test_a_text_scored_window_by_window_is_scored_as_one_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model()
    tokens = np.random.default_rng(0).integers(1, 12, 101)
    monkeypatch.setattr(scoring, "LANES", 1)
    found = []
    for window in (1000, 7):
        monkeypatch.setattr(scoring, "WINDOW", window)
        cache = NeuralCache(20, [0.5])
        found.append(scoring.score_with_cache(model, tokens[:-1], tokens[1:], cache))
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-5)

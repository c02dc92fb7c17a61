from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from random_decoder import (
    MODEL,
    NO_STATE,
    always,
    given,
    texts,
)

from nlp_suite.decoding import (
    greedy,
    sample,
)


def test_other_rows_do_not_change_what_a_row_draws() -> None:
    together = sample(MODEL.step, *given(), max_length=6, seed=3)
    first = sample(MODEL.step, *given([0]), max_length=6, seed=3)
    others = sample(MODEL.step, *given([0, 3, 1]), max_length=6, seed=3)
    assert texts(together)[0] == texts(first)[0] == texts(others)[0]
    assert texts(others)[1] == texts(together)[3]


def test_a_seed_gives_the_same_text_in_every_process() -> None:
    indifferent = always([0.0] * 20)
    drawn = sample(indifferent, NO_STATE, (), max_length=6, seed=11, samples=2)
    # Drawn once, in another process:
    assert texts(drawn) == [[[14, 13, 16, 9, 16, 13], [14, 11, 4, 5, 14, 16]]]
    other = sample(indifferent, NO_STATE, (), max_length=6, seed=12, samples=2)
    assert texts(other) != texts(drawn)


def test_independent_rows_draw_each_by_itself() -> None:
    alike = sample(always([0.0] * 20), tf.zeros([8, 1]), (), max_length=4, seed=0)
    apart = sample(always([0.0] * 20), tf.zeros([8, 1]), (), max_length=4, seed=0, independent=True)
    assert len({tuple(row[0]) for row in texts(alike)}) == 1
    assert len({tuple(row[0]) for row in texts(apart)}) == 8


def test_draws_follow_the_probabilities() -> None:
    log_probabilities = [float(np.log(p)) for p in (1e-9, 0.1, 1e-9, 0.2, 0.3, 0.4)]
    drawn = sample(always(log_probabilities), NO_STATE, (), max_length=1, seed=0, samples=5000)
    share = np.bincount(drawn.tokens.numpy().ravel(), minlength=6) / 5000
    np.testing.assert_allclose(share, [0, 0.1, 0, 0.2, 0.3, 0.4], atol=0.02)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 2}, {4: 3 / 7, 5: 4 / 7}),
        ({"top_p": 0.65}, {4: 3 / 7, 5: 4 / 7}),
        ({"top_p": 0.75}, {3: 2 / 9, 4: 3 / 9, 5: 4 / 9}),
        ({"top_k": 3, "top_p": 0.3}, {5: 1.0}),
        ({"top_p": 0.0}, {5: 1.0}),
        ({"temperature": 0.5, "top_k": 2}, {4: 9 / 25, 5: 16 / 25}),
        ({"temperature": 0.0}, {5: 1.0}),
    ],
    ids=str,
)
def test_only_the_likeliest_are_drawn(options: dict[str, Any], expected: dict[int, float]) -> None:
    log_probabilities = [float(np.log(p)) for p in (1e-9, 0.1, 1e-9, 0.2, 0.3, 0.4)]
    drawn = sample(
        always(log_probabilities), NO_STATE, (), max_length=1, seed=0, samples=2000, **options
    )
    share = np.bincount(drawn.tokens.numpy().ravel(), minlength=6) / 2000
    np.testing.assert_allclose(share, [expected.get(i, 0.0) for i in range(6)], atol=0.03)


def test_drawing_from_the_likeliest_alone_is_greedy() -> None:
    drawn = sample(MODEL.step, *given(), max_length=6, seed=0, top_k=1)
    assert texts(drawn) == texts(greedy(MODEL.step, *given(), max_length=6))

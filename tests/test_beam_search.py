from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from random_decoder import (
    BATCH,
    HIDDEN,
    MODEL,
    NO_STATE,
    UNITS,
    always,
    attention_of,
    given,
    memory_of,
    texts,
)

from nlp_suite.decoding import (
    beam_search,
    greedy,
)
from nlp_suite.decoding.selection import top_k
from nlp_suite.specials import BOS, EOS, PAD

MAX_LENGTH = 4
ENDLESS = [1, 4, 5, 6]  # what may be generated, besides EOS


search = tf.function(
    lambda state, context, beam_width, length_penalty, coverage_penalty, n_best: beam_search(
        MODEL.step,
        state,
        context,
        beam_width=beam_width,
        max_length=MAX_LENGTH,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        n_best=n_best,
    ),
    input_signature=[
        {"hidden": tf.TensorSpec([None, UNITS])},
        (tf.TensorSpec([None, None, UNITS]), tf.TensorSpec([None, None], tf.bool)),
        tf.TensorSpec([], tf.int32),
        tf.TensorSpec([]),
        tf.TensorSpec([]),
        tf.TensorSpec([], tf.int32),
    ],
)


def all_sequences() -> list[list[int]]:
    """Every text of up to MAX_LENGTH tokens, ended by EOS or cut."""
    ended = [
        [*body, EOS] for length in range(MAX_LENGTH) for body in product(ENDLESS, repeat=length)
    ]
    return ended + [list(body) for body in product(ENDLESS, repeat=MAX_LENGTH)]


def ranked_by_brute_force(
    row: int, length_penalty: float, coverage_penalty: float
) -> list[tuple[list[int], float, float]]:
    """All texts with log-probability and score, the best first and cut ones last."""
    ranked = []
    for tokens in all_sequences():
        gains, attention = MODEL.teacher_forced(HIDDEN[row], memory_of(row), tokens)
        rank = gains.sum() / ((5 + len(tokens)) / 6) ** length_penalty
        rank += coverage_penalty * np.log(np.minimum(attention.sum(axis=0), 1)).sum()
        ranked.append((tokens, gains.sum(), rank))
    return sorted(ranked, key=lambda entry: (entry[0][-1] != EOS, -entry[2]))


@pytest.mark.parametrize(
    ("length_penalty", "coverage_penalty"), [(0.0, 0.0), (0.6, 0.0), (1.5, 0.4), (-1.0, 0.0)]
)
def test_a_wide_beam_finds_what_brute_force_finds(
    length_penalty: float, coverage_penalty: float
) -> None:
    count = len(all_sequences())
    everything = search(*given(), count, length_penalty, coverage_penalty, count)
    best = search(*given(), count, length_penalty, coverage_penalty, 3)
    for row in range(BATCH):
        ranked = ranked_by_brute_force(row, length_penalty, coverage_penalty)
        assert texts(everything)[row] == [tokens for tokens, _, _ in ranked]
        assert texts(best)[row] == [tokens for tokens, _, _ in ranked[:3]]
        _, log_probabilities, scores = zip(*ranked, strict=True)
        np.testing.assert_allclose(everything.log_probability[row], log_probabilities, atol=1e-5)
        np.testing.assert_allclose(everything.score[row], scores, atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(length_penalty: float) -> None:
    beam = search(*given(), 1, length_penalty, 0.0, 1)
    one_by_one = greedy(MODEL.step, *given(), max_length=MAX_LENGTH)
    assert texts(beam) == texts(one_by_one)
    np.testing.assert_allclose(beam.log_probability, one_by_one.log_probability, atol=1e-6)
    np.testing.assert_allclose(attention_of(beam), attention_of(one_by_one), atol=1e-6)


def test_the_search_stops_as_soon_as_nothing_can_become_better() -> None:
    steps = []

    def step(tokens: tf.Tensor, state: Any, context: Any) -> tuple[tf.Tensor, Any, None]:
        steps.append(1)
        logits = tf.math.log([0.0, 0.0, 0.0, 0.6, 0.4])
        return tf.tile(logits[tf.newaxis], [tf.shape(tokens)[0], 1]), state, None

    def count_steps(**options: Any) -> int:
        steps.clear()
        beam_search(step, NO_STATE, (), beam_width=2, max_length=9, **options)
        return len(steps)

    # EOS at once has probability 0.6; whatever begins with the other token has less than 0.4.
    assert count_steps() == 1
    # The second best is "4 EOS" with 0.24, when "4 4" with 0.16 is still alive.
    assert count_steps(n_best=2) == 2
    # With the length penalty "4 ..." can still become better at first, "4 4 ..." cannot.
    assert np.log(0.4) / (14 / 6) > np.log(0.6) > 2 * np.log(0.4) / (14 / 6)
    assert count_steps(length_penalty=1.0) == 2


def test_company_in_the_batch_changes_nothing() -> None:
    together = search(*given(), 4, 0.6, 0.2, 3)
    for row in range(BATCH):
        alone = search(*given([row]), 4, 0.6, 0.2, 3)
        assert texts(alone)[0] == texts(together)[row]
        np.testing.assert_allclose(alone.score[0], together.score[row], atol=1e-5)
    prompts = tf.ragged.constant([[4], [5, 5, 5], [], [6]], tf.int32)
    together = greedy(MODEL.step, *given(), max_length=4, prefix=prompts)
    for row in range(BATCH):
        alone = greedy(MODEL.step, *given([row]), max_length=4, prefix=prompts[row : row + 1])
        assert texts(alone)[0] == texts(together)[row]


def test_shapes_do_not_retrace() -> None:
    for rows, width in (([0], 2), ([0, 1, 2], 3), ([], 4)):
        search(*given(rows), width, 0.0, 0.0, 1)
    state, (memory, mask) = given()
    search(state, (memory[:, :2], mask[:, :2]), 2, 0.0, 0.0, 1)
    assert search.experimental_get_tracing_count() == 1


def test_an_empty_memory_ends() -> None:
    state, _ = given()
    nothing = np.zeros([BATCH, 0, UNITS], "float32"), np.zeros([BATCH, 0], bool)
    found = search(state, nothing, 2, 0.0, 0.0, 1)
    assert found.tokens.shape[:2] == (BATCH, 1)
    assert np.isfinite(found.log_probability).all()


def test_what_does_not_exist_has_no_tokens_and_no_probability() -> None:
    one_text = always([0.0, 0.0, 0.0, 9.0])
    options: Any = {"beam_width": 3, "n_best": 3, "max_length": 4, "forbidden": (PAD, 1, BOS)}
    hypotheses = beam_search(one_text, NO_STATE, (), **options)
    assert texts(hypotheses) == [[[EOS], [], []]]
    assert np.isneginf(hypotheses.log_probability[0, 1:]).all()
    assert np.isneginf(hypotheses.score[0, 1:]).all()


def test_groups_of_a_diverse_beam_begin_differently() -> None:
    decided = always([0.0, 0.0, 0.0, -9.0, 3.0, 2.0, 1.0])
    options: Any = {"beam_width": 3, "n_best": 3, "max_length": 2}
    alike = beam_search(decided, NO_STATE, (), **options, groups=3)
    assert texts(alike) == [[[4, 4], [4, 4], [4, 4]]]
    diverse = beam_search(decided, NO_STATE, (), **options, groups=3, diversity_penalty=1.5)
    # Group 1 says 4 4. For group 2, 4 has lost 1.5 and 5 is better; for group 3, too, where 4 and
    # 5 have lost 1.5 each: 4 is best again, with 1.5 against 0.5 of 5 and 1 of 6.
    assert texts(diverse) == [[[4, 4], [4, 4], [5, 5]]]
    normal = np.log(np.exp([0.0, 0.0, 0.0, -9.0, 3.0, 2.0, 1.0]).sum())
    np.testing.assert_allclose(
        diverse.log_probability[0], [6 - 2 * normal, 6 - 2 * normal, 4 - 2 * normal], atol=1e-5
    )


def test_a_hypothesis_that_was_given_up_says_nothing_to_later_groups() -> None:
    """Three groups of one: "4 7" is given up for "5 3", and "6 7" goes on with 8.

    The probabilities: 0.4 * 0.4 = 0.16 of "4 7" is below 0.35 * 0.6 = 0.21 of "5 3", which has
    ended; "6 7" has 0.25. With what "4 7" would say next, 8, made worse, it would go on with 9.
    """
    after = np.zeros([10, 10], "float32")
    after[BOS, [4, 5, 6]] = 0.4, 0.35, 0.25
    after[4, [7, 8, 9]] = 0.4, 0.3, 0.3
    after[5, [EOS, 7]] = 0.6, 0.4
    after[6, 7] = 1.0
    after[7, [8, 9]] = 0.95, 0.05
    after[[PAD, 1, EOS, 8, 9], EOS] = 1.0

    def step(tokens: tf.Tensor, state: Any, context: Any) -> tuple[tf.Tensor, Any, None]:
        return tf.math.log(tf.gather(after, tokens)), state, None

    found = beam_search(
        step, NO_STATE, (), beam_width=3, max_length=9, groups=3, diversity_penalty=4.0
    )
    assert texts(found) == [[[6, 7, 8, EOS]]]
    np.testing.assert_allclose(found.log_probability, [[np.log(0.25 * 0.95)]], rtol=1e-5)


@pytest.mark.parametrize(("size", "k"), [(7, 7), (64, 3), (1000, 5), (130, 130), (129, 100)])
def test_the_top_k_by_blocks_is_the_top_k(size: int, k: int) -> None:
    values = np.random.default_rng(size).normal(size=(2, 3, size)).astype("float32")
    values[:, :, ::5] = -np.inf
    largest, where = top_k(values, tf.constant(k))
    np.testing.assert_array_equal(largest, tf.math.top_k(values, k).values)
    np.testing.assert_array_equal(largest, np.take_along_axis(values, where.numpy(), axis=-1))

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nlp_suite.decoding import (
    Hypotheses,
    align,
    attended_words,
    beam_search,
    ensemble,
    greedy,
    sample,
    score,
)
from nlp_suite.decoding.selection import top_k
from nlp_suite.specials import BOS, EOS, PAD, SPECIALS
from nlp_suite.text import WordTokenizer

VOCABULARY, UNITS, BATCH, MAX_LENGTH = 7, 5, 4, 4
ENDLESS = [1, 4, 5, 6]  # what may be generated, besides EOS

Array = np.ndarray[Any, Any]


class Model:
    """A random recurrent decoder with attention, once for decoding and once more in NumPy."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.embedding = random.normal(size=(VOCABULARY, UNITS)).astype("float32")
        self.kernel = random.normal(size=(2 * UNITS, UNITS)).astype("float32")
        self.output = 1.5 * random.normal(size=(2 * UNITS, VOCABULARY)).astype("float32")

    def step(self, tokens: tf.Tensor, state: Any, context: Any) -> tuple[tf.Tensor, Any, tf.Tensor]:
        memory, mask = context
        embedded = tf.gather(self.embedding, tokens)
        hidden = tf.tanh(tf.concat([embedded, state["hidden"]], axis=1) @ self.kernel)
        similarity = tf.linalg.matvec(memory, hidden)
        attention = tf.nn.softmax(tf.where(mask, similarity, -1e9))
        read = tf.linalg.matvec(memory, attention, transpose_a=True)
        logits = tf.concat([hidden, read], axis=1) @ self.output
        return logits, {"hidden": hidden}, attention

    def teacher_forced(self, hidden: Array, memory: Array, tokens: list[int]) -> tuple[Any, Any]:
        """Log-probability of each token and attention at each step, for one example."""
        gains, attentions = [], []
        for last, token in zip([BOS, *tokens], tokens, strict=False):
            hidden = np.tanh(np.concatenate([self.embedding[last], hidden]) @ self.kernel)
            attention = np.exp(memory @ hidden) / np.exp(memory @ hidden).sum()
            logits = np.concatenate([hidden, attention @ memory]) @ self.output
            gains.append(logits[token] - np.log(np.exp(logits).sum()))
            attentions.append(attention)
        return np.array(gains), np.array(attentions)


MODEL = Model()
RANDOM = np.random.default_rng(1)
HIDDEN = RANDOM.normal(size=(BATCH, UNITS)).astype("float32")
MEMORY = RANDOM.normal(size=(BATCH, 3, UNITS)).astype("float32")
MEMORY_LENGTHS = [3, 2, 1, 3]
MASK = np.arange(3) < np.array(MEMORY_LENGTHS)[:, None]


def given(rows: slice | list[int] = slice(None)) -> tuple[Any, Any]:
    """State and context of some rows of the batch."""
    return {"hidden": HIDDEN[rows]}, (MEMORY[rows], MASK[rows])


def memory_of(row: int) -> Array:
    return MEMORY[row, : MEMORY_LENGTHS[row]]


def texts(hypotheses: Hypotheses) -> list[list[list[int]]]:
    """Tokens of each hypothesis of each row, without padding."""
    return [
        [[token for token in tokens if token != PAD] for tokens in row]
        for row in hypotheses.tokens.numpy().tolist()
    ]


def attention_of(hypotheses: Hypotheses) -> Array:
    return np.asarray(hypotheses.attention)


def always(logits: list[float]) -> Any:
    """A step function that knows no context: the same logits at every step."""
    return lambda tokens, state, context: (
        tf.tile(tf.constant([logits]), [tf.shape(tokens)[0], 1]),
        state,
        None,
    )


NO_STATE = tf.zeros([1, 1])

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


@pytest.mark.parametrize(
    ("decode", "options"),
    [
        (greedy, {}),
        (beam_search, {"beam_width": 4, "n_best": 3}),
        (sample, {"samples": 3, "seed": 5, "temperature": 2.0}),
    ],
)
def test_log_probability_and_attention_are_those_of_teacher_forcing(
    decode: Any, options: dict[str, Any]
) -> None:
    hypotheses = decode(MODEL.step, *given(), max_length=6, **options)
    for row, candidates in enumerate(texts(hypotheses)):
        for n, tokens in enumerate(candidates):
            gains, attention = MODEL.teacher_forced(HIDDEN[row], memory_of(row), tokens)
            np.testing.assert_allclose(hypotheses.log_probability[row, n], gains.sum(), atol=1e-5)
            expected = np.zeros(attention_of(hypotheses).shape[2:])
            expected[: len(tokens), : MEMORY_LENGTHS[row]] = attention
            np.testing.assert_allclose(attention_of(hypotheses)[row, n], expected, atol=1e-5)


def test_scores_of_given_texts_are_those_of_teacher_forcing() -> None:
    targets = [[4, 5, EOS], [EOS], [], [6, 6, 6, 6, 6]]
    gains = score(MODEL.step, *given(), tf.ragged.constant(targets, tf.int32)).numpy()
    for row, tokens in enumerate(targets):
        expected, _ = MODEL.teacher_forced(HIDDEN[row], memory_of(row), tokens)
        np.testing.assert_allclose(gains[row, : len(tokens)], expected, atol=1e-5)
        assert not gains[row, len(tokens) :].any()


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


def test_other_rows_do_not_change_what_a_row_draws() -> None:
    together = sample(MODEL.step, *given(), max_length=6, seed=3)
    first = sample(MODEL.step, *given([0]), max_length=6, seed=3)
    others = sample(MODEL.step, *given([0, 3, 1]), max_length=6, seed=3)
    assert texts(together)[0] == texts(first)[0] == texts(others)[0]


def test_shapes_do_not_retrace() -> None:
    for rows, width in (([0], 2), ([0, 1, 2], 3), ([], 4)):
        search(*given(rows), width, 0.0, 0.0, 1)
    state, (memory, mask) = given()
    search(state, (memory[:, :2], mask[:, :2]), 2, 0.0, 0.0, 1)
    assert search.experimental_get_tracing_count() == 1


def test_eos_ends() -> None:
    countdown = lambda tokens, state, context: (9.0 * tf.one_hot(tokens - 1, 8), state, None)  # noqa: E731
    for hypotheses in (
        greedy(countdown, NO_STATE, (), max_length=50, start_token=7),
        beam_search(countdown, NO_STATE, (), max_length=50, start_token=7, beam_width=3),
        sample(countdown, NO_STATE, (), max_length=50, start_token=7, seed=0, top_k=1),
    ):
        assert hypotheses.tokens.numpy().tolist() == [[[6, 5, 4, EOS]]]
        assert hypotheses.attention is None


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


@pytest.mark.parametrize(
    ("decode", "options"), [(greedy, {}), (beam_search, {"beam_width": 2}), (sample, {"seed": 1})]
)
def test_max_length_ends_each_row_at_its_own(decode: Any, options: dict[str, Any]) -> None:
    never_ending = always([0.0, 0.0, 0.0, -99.0, 9.0, 0.0])
    hypotheses = decode(
        never_ending,
        tf.zeros([3, 1]),
        (),
        max_length=tf.constant([2, 1, 3]),
        prefix=tf.ragged.constant([[5], [5, 5, 5], []], tf.int32),
        **options,
    )
    lengths = [[len(tokens) for tokens in row] for row in texts(hypotheses)]
    assert lengths == [[3], [4], [3]]


def test_min_length_delays_eos() -> None:
    eager_to_end = always([0.0, 0.0, 0.0, 9.0, 1.0, 0.0])
    options: Any = {"max_length": 5, "min_length": tf.constant([2, 0])}
    state = tf.zeros([2, 1])
    assert texts(greedy(eager_to_end, state, (), **options)) == [[[4, 4, EOS]], [[EOS]]]
    assert texts(beam_search(eager_to_end, state, (), beam_width=2, **options)) == [
        [[4, 4, EOS]],
        [[EOS]],
    ]


def test_an_empty_batch_gives_an_empty_answer() -> None:
    for hypotheses in (
        search(*given([]), 2, 0.0, 0.0, 2),
        greedy(MODEL.step, *given([]), max_length=4),
        sample(MODEL.step, *given([]), max_length=4, seed=0, samples=2),
    ):
        assert len(hypotheses.tokens) == len(attention_of(hypotheses)) == 0


def test_an_empty_memory_ends() -> None:
    state, _ = given()
    nothing = np.zeros([BATCH, 0, UNITS], "float32"), np.zeros([BATCH, 0], bool)
    found = search(state, nothing, 2, 0.0, 0.0, 1)
    assert found.tokens.shape[:2] == (BATCH, 1)
    assert np.isfinite(found.log_probability).all()


def test_a_prefix_is_kept_and_costs_nothing() -> None:
    prompts = [[4, 6], [], [5], [EOS, 4]]
    prefix = tf.ragged.constant(prompts, tf.int32)
    for hypotheses in (
        greedy(MODEL.step, *given(), max_length=3, prefix=prefix),
        beam_search(MODEL.step, *given(), max_length=3, prefix=prefix, beam_width=3, n_best=2),
        sample(MODEL.step, *given(), max_length=3, prefix=prefix, seed=0, samples=2, top_p=0.9),
    ):
        for row, candidates in enumerate(texts(hypotheses)):
            for n, tokens in enumerate(candidates):
                assert tokens[: len(prompts[row])] == prompts[row]
                assert len(prompts[row]) < len(tokens) <= len(prompts[row]) + 3
                gains, _ = MODEL.teacher_forced(HIDDEN[row], memory_of(row), tokens)
                np.testing.assert_allclose(
                    hypotheses.log_probability[row, n], gains[len(prompts[row]) :].sum(), atol=1e-5
                )


def test_a_seed_gives_the_same_text_in_every_process() -> None:
    indifferent = always([0.0] * 20)
    drawn = sample(indifferent, NO_STATE, (), max_length=6, seed=11, samples=2)
    # Drawn once, in another process:
    assert texts(drawn) == [[[14, 13, 16, 9, 16, 13], [14, 11, 4, 5, 14, 16]]]
    other = sample(indifferent, NO_STATE, (), max_length=6, seed=12, samples=2)
    assert texts(other) != texts(drawn)


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


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_comes_twice(n: int) -> None:
    favours_4_then_5 = always([0.0, 0.0, 0.0, 0.0, 3.0, 2.0, 1.0])
    options: Any = {"max_length": 12, "min_length": 12, "no_repeat_ngram": n}
    free = greedy(favours_4_then_5, NO_STATE, (), max_length=12)
    assert texts(free) == [[[4] * 12]]
    for hypotheses in (
        greedy(favours_4_then_5, NO_STATE, (), **options),
        beam_search(favours_4_then_5, NO_STATE, (), **options, beam_width=3, n_best=3),
    ):
        for tokens in texts(hypotheses)[0]:
            ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
            assert len(set(ngrams)) == len(ngrams)
    # Of 1, 4, 5 and 6 each can be said once; then nothing but EOS is left.
    said = texts(greedy(favours_4_then_5, NO_STATE, (), **{**options, "no_repeat_ngram": 1}))
    assert said == [[[4, 5, 6, 1, EOS]]]


def test_an_ngram_of_the_prefix_counts_too() -> None:
    favours_4 = always([0.0, 0.0, 0.0, 1.0, 3.0, 2.0])
    hypotheses = greedy(
        favours_4,
        NO_STATE,
        (),
        max_length=2,
        no_repeat_ngram=2,
        prefix=tf.ragged.constant([[4, 4]], tf.int32),
    )
    assert texts(hypotheses) == [[[4, 4, 5, 4]]]


def test_forbidden_tokens_are_never_generated() -> None:
    loves_unknown = always([9.0, 8.0, 7.0, 0.0, 1.0])
    options: Any = {"max_length": 2, "forbidden": (PAD, 1, BOS)}
    for hypotheses in (
        greedy(loves_unknown, NO_STATE, (), **options),
        beam_search(loves_unknown, NO_STATE, (), beam_width=3, **options),
        sample(loves_unknown, NO_STATE, (), seed=0, **options),
    ):
        assert set(hypotheses.tokens.numpy().ravel()) <= {PAD, EOS, 4}


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


def test_an_ensemble_averages_log_probabilities() -> None:
    other = Model(seed=7)
    both = ensemble([MODEL.step, other.step])
    (state, context), targets = given(), [[4, 5, EOS], [6, EOS], [1, 4, 4], [5, 5, 5]]
    states, contexts = (state, state), (context, context)
    found = greedy(both, states, contexts, max_length=4)
    tokens = tf.fill([BATCH], BOS)
    mean = (
        tf.nn.log_softmax(MODEL.step(tokens, state, context)[0])
        + tf.nn.log_softmax(other.step(tokens, state, context)[0])
    ) / 2
    best = tf.argmax(tf.where([True, False, True, *[False] * 4], -99.0, mean), axis=1)
    np.testing.assert_array_equal(found.tokens[:, 0, 0], best)
    twice = ensemble([MODEL.step, MODEL.step])
    ragged = tf.ragged.constant(targets, tf.int32)
    np.testing.assert_allclose(
        score(twice, states, contexts, ragged), score(MODEL.step, state, context, ragged), atol=1e-5
    )


@pytest.mark.parametrize(("size", "k"), [(7, 7), (64, 3), (1000, 5), (130, 130), (129, 100)])
def test_the_top_k_by_blocks_is_the_top_k(size: int, k: int) -> None:
    values = np.random.default_rng(size).normal(size=(2, 3, size)).astype("float32")
    values[:, :, ::5] = -np.inf
    largest, where = top_k(values, tf.constant(k))
    np.testing.assert_array_equal(largest, tf.math.top_k(values, k).values)
    np.testing.assert_array_equal(largest, np.take_along_axis(values, where.numpy(), axis=-1))


def test_an_unknown_word_becomes_the_word_it_attended_to() -> None:
    tokenizer = WordTokenizer([*SPECIALS, "liebe", "guten", "tag", ","])
    source = tf.constant(["Dear Emma", "Good day , Mr. Knightley"])
    tokens = tf.constant([[[4, 1, EOS, PAD]], [[5, 6, 7, 1]]])
    attention = np.zeros([2, 1, 4, 7], "float32")  # a place more than words, for EOS
    for row, places in enumerate([[0, 1, 2], [0, 1, 2, 5]]):
        for time, place in enumerate(places):
            attention[row, 0, time, place] = 0.8
    attention[1, 0, 3, 0] = 0.2
    assert align(attention).numpy().tolist() == [[[0, 1, 2, -1]], [[0, 1, 2, 5]]]
    unknown = attended_words(attention, tokenizer.words(source))
    decoded = tokenizer.decode(tokens, unknown).numpy().tolist()
    assert decoded == [[b"liebe Emma"], [b"guten tag, Knightley"]]


class Exported(tf.Module):
    """What an export of beam search and sampling looks like."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, UNITS]),
            tf.TensorSpec([None, None, UNITS]),
            tf.RaggedTensorSpec([None, None], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def decode(
        self,
        hidden: tf.Tensor,
        memory: tf.Tensor,
        prefix: tf.RaggedTensor,
        beam_width: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        start: Any = {
            "step": MODEL.step,
            "state": {"hidden": hidden},
            "context": (memory, tf.ones(tf.shape(memory)[:2], tf.bool)),
            "prefix": prefix,
            "max_length": 5,
            "no_repeat_ngram": 2,
        }
        best = beam_search(**start, beam_width=beam_width, length_penalty=0.6)
        drawn = sample(**start, temperature=temperature, top_k=top_k, seed=4)
        return {
            "best": best.tokens,
            "log_probability": best.log_probability,
            "attention": best.attention,
            "drawn": drawn.tokens,
        }


def test_a_saved_model_decodes_the_same(tmp_path: Path) -> None:
    module = Exported()
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    prefix = tf.ragged.constant([[4], [], [5, 6], []], tf.int32)
    for rows, scalars in ((slice(0, 4), (3, 0.7, 0)), (slice(2, 3), (5, 2.0, 2))):
        arguments = (HIDDEN[rows], MEMORY[rows], prefix[rows], *map(tf.constant, scalars))
        here, there = module.decode(*arguments), loaded.decode(*arguments)
        for name, value in here.items():
            np.testing.assert_allclose(there[name], value, atol=1e-6)

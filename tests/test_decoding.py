from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from random_decoder import (
    BATCH,
    HIDDEN,
    MEMORY,
    MEMORY_LENGTHS,
    MODEL,
    NO_STATE,
    UNITS,
    Model,
    always,
    attention_of,
    given,
    memory_of,
    texts,
)

from nlp_suite.decoding import (
    Hypotheses,
    Votes,
    align,
    attended_words,
    beam_search,
    consensus,
    ensemble,
    greedy,
    sample,
    score,
)
from nlp_suite.decoding.consensus import expected_f1
from nlp_suite.decoding_config import GenerationConfig
from nlp_suite.errors import UserError
from nlp_suite.specials import BOS, EOS, PAD, SPECIALS
from nlp_suite.text import WordTokenizer


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


def test_eos_ends() -> None:
    countdown = lambda tokens, state, context: (9.0 * tf.one_hot(tokens - 1, 8), state, None)  # noqa: E731
    for hypotheses in (
        greedy(countdown, NO_STATE, (), max_length=50, start_token=7),
        beam_search(countdown, NO_STATE, (), max_length=50, start_token=7, beam_width=3),
        sample(countdown, NO_STATE, (), max_length=50, start_token=7, seed=0, top_k=1),
    ):
        assert hypotheses.tokens.numpy().tolist() == [[[6, 5, 4, EOS]]]
        assert hypotheses.attention is None


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
        beam_search(MODEL.step, *given([]), max_length=4, beam_width=2, n_best=2),
        greedy(MODEL.step, *given([]), max_length=4),
        sample(MODEL.step, *given([]), max_length=4, seed=0, samples=2),
    ):
        assert len(hypotheses.tokens) == len(attention_of(hypotheses)) == 0


def test_a_consensus_need_not_be_the_most_probable() -> None:
    """The F1 of "4" is 2/3 and 0 with the others, that of "4 5" 2/3 and 1/2, that of "6 5" 1/2."""
    found = Hypotheses(
        tokens=tf.constant([[[4, EOS, PAD], [4, 5, EOS], [6, 5, EOS]]]),
        log_probability=tf.zeros([1, 3]),
        score=tf.math.log([[0.4, 0.3, 0.3]]),
        attention=None,
    )
    chosen = consensus(found, always([0.0] * 8), NO_STATE, (), n_best=3)
    assert chosen.tokens.numpy().tolist() == [[[4, 5, EOS], [4, EOS, PAD], [6, 5, EOS]]]
    expected = [0.4 * 2 / 3 + 0.3 + 0.3 / 2, 0.4 + 0.3 * 2 / 3, 0.3 + 0.3 / 2]
    np.testing.assert_allclose(chosen.score, [expected], rtol=1e-5)
    np.testing.assert_allclose(chosen.log_probability, np.log([[8.0**-3, 8.0**-2, 8.0**-3]]))


def test_a_word_that_comes_twice_counts_twice_in_a_consensus() -> None:
    """The F1 of "4 4 4" and "4 4" is 4/5, that of "4 4 4" and "4" is 1/2."""
    tokens = tf.constant([[[4, 4, 4, EOS], [4, 4, EOS, PAD], [4, EOS, PAD, PAD]]])
    f1 = expected_f1(tokens, tf.constant([[0.0, 0.6, 0.4]]))
    np.testing.assert_allclose(f1[0, 0], 0.6 * 4 / 5 + 0.4 / 2)


def test_what_others_say_has_its_share_in_a_consensus() -> None:
    """The others outvote the hypotheses with a share of 0.9, and not with one of 0.1."""
    found = beam_search(always([0.0, 0.0, 0.0, 9.0, 3.0]), NO_STATE, (), max_length=2, beam_width=2)
    foreign = tf.constant([[[5, 6, EOS, PAD], [5, 6, 6, EOS]]])
    for share, text in ((0.9, [5, 6]), (0.1, [])):
        votes = Votes(foreign, tf.fill([1, 2], share / 2))
        step = always([0.0, 0.0, 0.0, 9.0, 3.0, 0.0, 0.0])
        chosen = consensus(found, step, NO_STATE, (), others=votes)
        assert [token for token in texts(chosen)[0][0] if token != EOS] == text


@pytest.mark.parametrize("is_foreign", [False, True], ids=["found", "of others"])
def test_a_text_that_comes_twice_votes_twice_and_is_chosen_once(is_foreign: bool) -> None:
    """Of "4 5", "6" and "6" with shares of 0.4, 0.3 and 0.3, "6" is the first.

    With half of the say for a "6" of others, what was found has 0.8 and 0.2 of the other half.
    """
    tokens, shares = [[4, 5, EOS], [6, EOS, PAD], [6, EOS, PAD]], [0.4, 0.3, 0.3]
    votes = None
    if is_foreign:
        tokens, shares = tokens[:2], [0.8, 0.2]
        votes = Votes(tf.constant([[[6, EOS, PAD, PAD]]]), tf.constant([[0.5]]))
    found = Hypotheses(
        tokens=tf.constant([tokens]),
        log_probability=tf.zeros([1, len(tokens)]),
        score=tf.math.log([shares]),
        attention=None,
    )
    chosen = consensus(found, always([0.0] * 8), NO_STATE, (), others=votes, n_best=3)
    assert texts(chosen) == [[[6, EOS], [4, 5, EOS], []]]
    np.testing.assert_allclose(chosen.score, [[0.6, 0.4, -np.inf]], rtol=1e-5)
    log_probability = [[np.log(8.0**-2), np.log(8.0**-3), -np.inf]]
    np.testing.assert_allclose(chosen.log_probability, log_probability, rtol=1e-5)


def test_a_consensus_does_not_choose_what_no_search_has_found() -> None:
    found = Hypotheses(
        tokens=tf.constant([[[4, EOS], [PAD, PAD], [EOS, PAD]]]),
        log_probability=tf.constant([[-1.0, -np.inf, -2.0]]),
        score=tf.math.log([[0.9, 0.0, 0.1]]),
        attention=tf.ones([1, 3, 2, 5]),
    )
    chosen = consensus(found, MODEL.step, *given([0]), n_best=3)
    assert texts(chosen) == [[[4, EOS], [EOS], []]]
    assert np.isneginf(chosen.log_probability).tolist() == [[False, False, True]]
    assert np.isneginf(chosen.score).tolist() == [[False, False, True]]
    assert not attention_of(chosen)[0, 2].any()


def test_a_consensus_knows_what_its_model_thinks_of_it() -> None:
    prompts = [[4, 6], [], [5], [EOS, 4]]
    prefix = tf.ragged.constant(prompts, tf.int32)
    found = beam_search(MODEL.step, *given(), max_length=4, prefix=prefix, beam_width=3, n_best=3)
    chosen = consensus(found, MODEL.step, *given(), prefix=prefix, n_best=2)
    for row, candidates in enumerate(texts(chosen)):
        assert all(tokens in texts(found)[row] for tokens in candidates)
        for n, tokens in enumerate(candidates):
            gains, attention = MODEL.teacher_forced(HIDDEN[row], memory_of(row), tokens)
            total = gains[len(prompts[row]) :].sum()
            np.testing.assert_allclose(chosen.log_probability[row, n], total, atol=1e-5)
            seen = attention_of(chosen)[row, n, : len(tokens), : MEMORY_LENGTHS[row]]
            np.testing.assert_allclose(seen, attention, atol=1e-5)


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_best": 5}, "`n_best` must be at most 4 with decode=beam"),
        ({"decode": "greedy", "n_best": 2}, "`n_best` must be at most 1 with decode=greedy"),
        ({"beam_groups": 3}, "`beam_groups` must divide beam_width=4"),
        ({"beam_width": 0}, "`beam_width` must be at least 1"),
        ({"top_p": 0.0}, "`top_p` must be above 0"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        GenerationConfig(**settings)


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

"""Choosing the text that has the most in common with all that might be right."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from nlp_suite.decoding.constraints import NEVER
from nlp_suite.decoding.hypotheses import Hypotheses, Nested, StepFunction, repeat_rows
from nlp_suite.decoding.scoring import follow
from nlp_suite.specials import EOS, PAD


class Votes(NamedTuple):
    """Texts that have a say in what is chosen, and can be chosen.

    Attributes:
        tokens: int32 [batch, n, time], with EOS, then PAD.
        shares: float32 [batch, n], how much each of them counts; in all at most 1.
    """

    tokens: tf.Tensor
    shares: tf.Tensor


def consensus(
    found: Hypotheses,
    step: StepFunction,
    state: Nested,
    context: Nested,
    *,
    prefix: tf.RaggedTensor | None = None,
    others: Votes | None = None,
    n_best: tf.Tensor | int = 1,
) -> Hypotheses:
    """Chooses the texts that share the most words with all the others.

    That is minimum Bayes risk decoding (Kumar & Byrne 2004, https://aclanthology.org/N04-1022),
    with the F1 of words as what is gained: the most probable text is often an odd one, where many
    others say nearly the same. With captions of similar images among the others it is the consensus
    caption of Devlin et al. 2015, https://arxiv.org/abs/1505.04467.

    Args:
        found: What a search found; a text counts by the softmax of its score.
        step: One step of the model that found them.
        state: Its state before the first step, leading axis batch.
        context: What stays constant, leading axis batch.
        prefix: int32 [batch, (time)], tokens that each text begins with.
        others: Texts from elsewhere; what is left of their shares falls to `found`.
        n_best: int32 [], texts to return.

    Returns:
        `n_best` different hypotheses for each row of the batch, ranked by the F1 to be expected of
        them. What is known of them is what the model thinks of them, wherever they come from.
    """
    tokens, shares = found.tokens, tf.nn.softmax(found.score)
    if others is not None:
        own = 1 - tf.reduce_sum(others.shares, axis=1, keepdims=True)
        shares = tf.concat([own * shares, others.shares], axis=1)
        tokens = _joined(tokens, others.tokens)
    n_best = tf.minimum(n_best, tf.shape(tokens)[1])
    gain = tf.where(_is_new(tokens), expected_f1(tokens, shares), NEVER)
    expected, winners = tf.math.top_k(gain, n_best)
    exist = expected > NEVER
    tokens = tf.where(exist[..., tf.newaxis], tf.gather(tokens, winners, batch_dims=1), PAD)
    rows = tf.reshape(tokens, [-1, tf.shape(tokens)[2]])
    state, context = repeat_rows((state, context), n_best)
    gains, attention = follow(step, state, context, rows)
    gains = tf.reshape(gains, tf.shape(tokens))
    if prefix is not None:
        given = tf.sequence_mask(prefix.row_lengths(), tf.shape(tokens)[2])
        gains = tf.where(given[:, tf.newaxis], 0.0, gains)
    if attention is not None:
        attention = tf.reshape(attention, tf.concat([tf.shape(tokens), [-1]], axis=0))
    log_probability = tf.where(exist, tf.reduce_sum(gains, axis=2), NEVER)
    return Hypotheses(tokens, log_probability, expected, attention)


def expected_f1(tokens: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Computes the mean F1 of each text against all of them, itself included.

    Args:
        tokens: int32 [batch, n, time]; EOS and PAD do not count.
        shares: float32 [batch, n], the weights of the mean.

    Returns:
        float32 [batch, n]; two texts without a word are equal.

    Example:
        "red car", "red bus" and "red bus" have an F1 of 1/2 or 1 with each other:

        >>> texts = tf.constant([[[5, 6], [5, 7], [5, 7]]])
        >>> expected_f1(texts, tf.constant([[0.5, 0.25, 0.25]])).numpy().tolist()
        [[0.75, 0.75, 0.75]]
    """
    is_word = (tokens != PAD) & (tokens != EOS)
    # A word that comes twice is told from itself by how often it came before.
    same = tokens[..., :, tf.newaxis] == tokens[..., tf.newaxis, :]
    before = tf.linalg.band_part(tf.cast(same, tf.int32), -1, 0)
    words = tokens * tf.shape(tokens)[2] + tf.reduce_sum(before, axis=3)
    equal = words[:, :, :, tf.newaxis, tf.newaxis] == words[:, tf.newaxis, tf.newaxis]
    real = is_word[:, :, :, tf.newaxis, tf.newaxis] & is_word[:, tf.newaxis, tf.newaxis]
    in_other = tf.reduce_any(equal & real, axis=4)  # [batch, n, time, n]
    common = tf.reduce_sum(tf.cast(in_other, tf.float32), axis=2)
    lengths = tf.reduce_sum(tf.cast(is_word, tf.float32), axis=2)
    total = lengths[:, :, tf.newaxis] + lengths[:, tf.newaxis]
    f1 = tf.where(total == 0, 1.0, tf.math.divide_no_nan(2 * common, total))
    return tf.linalg.matvec(f1, shares)


def _is_new(tokens: tf.Tensor) -> tf.Tensor:
    """Tells texts that no text before them repeats, and that are any at all, bool [batch, n]."""
    same = tf.reduce_all(tokens[:, :, tf.newaxis] == tokens[:, tf.newaxis], axis=3)
    firsts = tf.argmax(tf.cast(same, tf.int32), axis=2, output_type=tf.int32)
    exists = tf.reduce_any(tokens != PAD, axis=2)
    return exists & (firsts == tf.range(tf.shape(tokens)[1]))


def _joined(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Puts texts side by side, padded to the longest of both."""
    times = tf.maximum(tf.shape(one)[2], tf.shape(other)[2])
    padded = (
        tf.pad(each, [[0, 0], [0, 0], [0, times - tf.shape(each)[2]]], constant_values=PAD)
        for each in (one, other)
    )
    return tf.concat(list(padded), axis=1)

"""Choosing the next hypotheses of a beam among all continuations of the present ones."""

from __future__ import annotations

import tensorflow as tf

from nlp_suite.decoding.constraints import NEVER
from nlp_suite.specials import PAD

BLOCK = 64
"""Tokens of which the maximum is taken first; measured best for vocabularies of 6,000 and 8,000."""


def best_continuations(
    logits: tf.Tensor, base: tf.Tensor, ended: tf.Tensor, exists: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Chooses as many continuations as there are places, each [batch, places].

    An ended hypothesis has one continuation, PAD, which outranks those of the living. Taking the
    best few of each place before the best of all saves passes over the whole vocabulary.

    Args:
        logits: float32 [batch, places, vocabulary].
        base: float32 [batch, places], what makes log-probabilities of them.
        ended: bool [batch, places].
        exists: bool [batch, places].

    Returns:
        The place each one continues, int32; its token, int32; whether there is one, bool.
    """
    batch, places, vocabulary = tf.unstack(tf.shape(logits))
    few = tf.minimum(places, vocabulary)
    values, tokens = top_k(logits, few)  # [batch, places, few]
    totals = base[..., tf.newaxis] + values
    keeps = (exists & ended)[..., tf.newaxis] & (tf.range(few) == 0)
    ended = ended[..., tf.newaxis]
    totals = tf.where(keeps, tf.float32.max, tf.where(ended, NEVER, totals))
    tokens = tf.where(ended, PAD, tokens)
    best, winners = tf.math.top_k(tf.reshape(totals, [batch, places * few]), places)
    chosen = tf.gather(tf.reshape(tokens, [batch, places * few]), winners, batch_dims=1)
    return winners // few, chosen, best > NEVER


def top_k(values: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the k largest values of the last axis and their places, the largest first.

    They lie in the k blocks with the largest maxima, so only those are searched: for 4 of 8,000
    values, 128 times, 1.6 ms of CPU in place of 7.0 with `tf.math.top_k` alone.

    Args:
        values: float32 [batch, places, size].
        k: int32 [], at most size.

    Returns:
        float32 and int32 [batch, places, k].

    Example:
        >>> largest, where = top_k(tf.constant([[[1.0, 7.0, 4.0]]]), tf.constant(2))
        >>> largest.numpy().tolist(), where.numpy().tolist()
        ([[[7.0, 4.0]]], [[[1, 2]]])
    """
    batch, places, size = tf.unstack(tf.shape(values))
    padded = tf.pad(values, [[0, 0], [0, 0], [0, -size % BLOCK]], constant_values=NEVER)
    blocks = tf.reshape(padded, [batch, places, -1, BLOCK])
    maxima = tf.reduce_max(blocks, axis=-1)
    _, best = tf.math.top_k(maxima, tf.minimum(k, tf.shape(maxima)[-1]))
    candidates = tf.reshape(tf.gather(blocks, best, batch_dims=2), [batch, places, -1])
    ids = tf.reshape(best[..., tf.newaxis] * BLOCK + tf.range(BLOCK), [batch, places, -1])
    largest, where = tf.math.top_k(candidates, k)
    # Padding is chosen only where too few values are not -inf; its place must exist all the same.
    return largest, tf.minimum(tf.gather(ids, where, batch_dims=2), size - 1)

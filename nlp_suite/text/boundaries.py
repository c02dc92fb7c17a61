"""Marking where sequences of token ids begin and end."""

from __future__ import annotations

import tensorflow as tf

from nlp_suite.specials import BOS, EOS


def with_bos(ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Puts BOS before every sequence: what a decoder reads first.

    Args:
        ids: Ragged int32 [batch, time].

    Returns:
        Ragged int32 [batch, time + 1].

    Example:
        >>> with_bos(tf.ragged.constant([[7, 8], []], dtype=tf.int32)).to_list()
        [[2, 7, 8], [2]]
    """
    return tf.concat([_column(BOS, ids), ids], axis=1)


def with_eos(ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Puts EOS after every sequence: it leaves none empty, and a decoder learns to stop.

    Args:
        ids: Ragged int32 [batch, time].

    Returns:
        Ragged int32 [batch, time + 1].

    Example:
        >>> with_eos(tf.ragged.constant([[7, 8], []], dtype=tf.int32)).to_list()
        [[7, 8, 3], [3]]
    """
    return tf.concat([ids, _column(EOS, ids)], axis=1)


def _column(token: int, ids: tf.RaggedTensor) -> tf.Tensor:
    """Repeats one token down a column, int32 [batch, 1]."""
    return tf.fill([ids.nrows(out_type=tf.int32), 1], token)

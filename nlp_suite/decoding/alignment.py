"""What each generated token attended to: alignments, and words to put for unknown ones."""

from __future__ import annotations

import tensorflow as tf


def align(attention: tf.Tensor) -> tf.Tensor:
    """Finds the place of the memory that each token attended to most.

    Args:
        attention: float32 [..., time, memory time], of `Hypotheses`.

    Returns:
        int32 [..., time]; -1 where there is no token, and so no attention.

    Example:
        >>> from nlp_suite.decoding import align
        >>> align(tf.constant([[[0.1, 0.9], [0.7, 0.3], [0.0, 0.0]]])).numpy().tolist()
        [[1, 0, -1]]
    """
    place = tf.argmax(attention, axis=-1, output_type=tf.int32)
    return tf.where(tf.reduce_any(attention > 0.0, axis=-1), place, -1)


def attended_words(attention: tf.Tensor, words: tf.RaggedTensor) -> tf.Tensor:
    """Finds the word of the source that each token attended to most.

    A model that writes UNK for a name most often attends to that name, so the source's word is the
    best guess (Luong et al. 2015, https://arxiv.org/abs/1410.8206; Jean et al. 2015,
    https://arxiv.org/abs/1412.2007).

    Args:
        attention: float32 [batch, n, time, memory time], of `Hypotheses`.
        words: string [batch, (source words)], of which the memory has a place each, in order. It
            may have more, for the end of the source.

    Returns:
        string [batch, n, time]; empty where the token attended to no word.

    Example:
        >>> from nlp_suite.decoding import attended_words
        >>> attention = tf.constant([[[[0.1, 0.9, 0.0], [0.2, 0.1, 0.7]]]])
        >>> attended_words(attention, tf.ragged.constant([["dear", "Emma"]])).numpy().tolist()
        [[[b'Emma', b'']]]
    """
    places = tf.shape(attention, tf.int64)[-1]
    padded = words.to_tensor("", shape=tf.stack([words.nrows(tf.int64), places]))
    return tf.gather(padded, tf.argmax(attention, axis=-1), batch_dims=1)

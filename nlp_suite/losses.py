"""What training makes small."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def cross_entropy(logits: Any, targets: Any, smoothing: float = 0.0) -> Any:
    """Measures the surprise at each target.

    The probabilities are computed once, for the loss and for its gradient. TensorFlow's own
    function for this takes several times as long on a CPU, where large vocabularies make it one of
    the slowest parts of a step.

    Args:
        logits: float32 [..., classes].
        targets: int32 [...].
        smoothing: Share of the target's probability that is spread over all classes alike
            (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567).

    Returns:
        Nats, float32 [...].

    Example:
        >>> logits = tf.math.log([[0.5, 0.25, 0.25]])
        >>> print(cross_entropy(logits, tf.constant([0])).numpy().round(3))
        [0.693]
        >>> print(cross_entropy(logits, tf.constant([0]), smoothing=0.3).numpy().round(3))
        [0.832]
    """

    @tf.custom_gradient
    def measure(logits: Any) -> tuple[Any, Any]:
        probabilities = tf.nn.softmax(logits)
        # The largest probability is exp(largest logit) by the sum of all: it gives the logarithm of
        # the sum, and is never too small for its own logarithm.
        largest = tf.reduce_max(logits, axis=-1)
        log_sum = largest - tf.math.log(tf.reduce_max(probabilities, axis=-1))
        wanted = (1 - smoothing) * tf.gather(
            logits, targets, axis=-1, batch_dims=targets.shape.rank
        )
        if smoothing:
            wanted += smoothing * tf.reduce_mean(logits, axis=-1)

        def gradient(upstream: Any) -> Any:
            classes = tf.shape(logits)[-1]
            spread = smoothing / tf.cast(classes, logits.dtype)
            rest = (probabilities - spread if smoothing else probabilities) * upstream[..., None]
            flat = tf.reshape(rest, [-1, classes])
            rows = tf.range(tf.shape(flat)[0], dtype=targets.dtype)
            places = tf.stack([rows, tf.reshape(targets, [-1])], axis=1)
            share = (1 - smoothing) * tf.reshape(upstream, [-1])
            return tf.reshape(tf.tensor_scatter_nd_sub(flat, places, share), tf.shape(logits))

        return log_sum - wanted, gradient

    return measure(logits)

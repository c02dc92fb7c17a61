"""What training makes small."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nlp_suite.layers import Candidates, LazyLogits

Tensor = Any

SCORES = 4_000_000
"""Scores that are computed together, of 4 bytes each. More of them at a time are no faster."""


def cross_entropy(logits: Tensor | LazyLogits, targets: Tensor) -> Tensor:
    """Measures the surprise at each target.

    The probabilities are computed once, for the loss and for its gradient. TensorFlow's own
    function for this takes several times as long on a CPU, where large vocabularies make it one of
    the slowest parts of a step.

    Lazy logits are computed for some tokens after the other, so that those of a whole batch, by far
    the largest tensor of a step, never stand side by side. No product is computed twice: what is
    kept are the probabilities, in the dtype of the hidden states. Where candidates were drawn, the
    target is told from these alone (Jean et al. 2015, https://arxiv.org/abs/1412.2007).

    Args:
        logits: float32 [..., classes], or their factors.
        targets: int32 [...].

    Returns:
        Nats, float32 [...].

    Example:
        >>> logits = tf.math.log([[0.5, 0.25, 0.25]])
        >>> print(cross_entropy(logits, tf.constant([0])).numpy().round(3))
        [0.693]
    """
    places = tf.reshape(targets, [-1])
    if isinstance(logits, LazyLogits):
        hidden = _flat(logits.hidden)
        factors = hidden, logits.kernel, logits.bias
        if logits.candidates is None:
            losses = _in_parts(*factors, places)
        else:
            losses = _sampled(*factors, logits.candidates, places)
    else:
        losses = _dense(_flat(logits), places)
    return tf.reshape(losses, tf.shape(targets))


def margin(logits: Tensor | LazyLogits, targets: Tensor) -> Tensor:
    """Measures how far the logit of each target is above the mean logit.

    Cross entropy with label smoothing, which spreads a share of the target's probability over all
    classes alike (Szegedy et al. 2016, https://arxiv.org/abs/1512.00567), is cross entropy without
    it and this share of the margin.

    Args:
        logits: float32 [..., classes], or their factors.
        targets: int32 [...], or probabilities, float32 [..., classes].

    Returns:
        float32 [...].

    Example:
        >>> logits = tf.constant([[4.0, 1.0, 1.0]])
        >>> print(margin(logits, tf.constant([0])).numpy())
        [2.]
    """
    if isinstance(logits, LazyLogits):
        kernel = tf.gather(logits.kernel, targets) - tf.reduce_mean(logits.kernel, axis=0)
        bias = tf.gather(logits.bias, targets) - tf.reduce_mean(logits.bias)
        return tf.reduce_sum(tf.cast(logits.hidden, tf.float32) * kernel, axis=-1) + bias
    if targets.dtype.is_floating:
        wanted = tf.reduce_sum(targets * logits, axis=-1)
    else:
        wanted = tf.gather(logits, targets, axis=-1, batch_dims=targets.shape.rank)
    return wanted - tf.reduce_mean(logits, axis=-1)


def _flat(tensor: Tensor) -> Tensor:
    return tf.reshape(tensor, [-1, tensor.shape[-1]])


def _dense(logits: Tensor, targets: Tensor) -> Tensor:
    """Measures float32 [tokens, classes]."""

    @tf.custom_gradient
    def measure(logits: Tensor) -> tuple[Tensor, Any]:
        losses, errors = _losses_and_errors(logits, targets)
        return losses, lambda upstream: errors * upstream[:, tf.newaxis]

    return measure(logits)


def _losses_and_errors(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Gives losses, [tokens], and their gradients: probabilities, less 1 for the target."""
    probabilities = tf.nn.softmax(logits)
    # The largest probability is exp(largest logit) by the sum of all: it gives the logarithm of
    # the sum, and is never too small for its own logarithm.
    largest = tf.reduce_max(logits, axis=-1)
    log_sum = largest - tf.math.log(tf.reduce_max(probabilities, axis=-1))
    wanted = tf.gather(logits, targets, axis=-1, batch_dims=1)
    rows = tf.range(tf.shape(targets)[0], dtype=targets.dtype)
    places = tf.stack([rows, targets], axis=1)
    errors = tf.tensor_scatter_nd_sub(probabilities, places, tf.ones_like(wanted))
    return log_sum - wanted, errors


def _sampled(
    hidden: Tensor, kernel: Tensor, bias: Tensor, candidates: Candidates, targets: Tensor
) -> Tensor:
    """Measures how well float [tokens, features] tells each target from the candidates.

    All logits are corrected for the chance of being compared.
    """
    bias = bias - candidates.log_chances
    own_kernel, own_bias = tf.gather(kernel, targets), tf.gather(bias, targets)
    own = tf.reduce_sum(tf.cast(hidden, tf.float32) * own_kernel, axis=-1) + own_bias
    drawn = tf.cast(tf.gather(kernel, candidates.ids), hidden.dtype)
    others = tf.cast(tf.matmul(hidden, drawn, transpose_b=True), tf.float32)
    others += tf.gather(bias, candidates.ids)
    is_target = candidates.ids == targets[:, tf.newaxis]
    others = tf.where(is_target, others.dtype.min, others)
    logits = tf.concat([own[:, tf.newaxis], others], axis=1)
    return _dense(logits, tf.zeros_like(targets))


def _in_parts(hidden: Tensor, kernel: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Measures the logits of float [tokens, features], those of some tokens after the other."""
    tokens, dtype = tf.shape(hidden)[0], hidden.dtype
    count = 1 + tokens // max(1, SCORES // kernel.shape[0])

    def part(tensor: Tensor, i: Tensor) -> Tensor:
        return tensor[i * tokens // count : (i + 1) * tokens // count]

    def places(dtype: tf.DType, *shape: int) -> tf.TensorArray:
        return tf.TensorArray(dtype, count, element_shape=[None, *shape], infer_shape=False)

    def each(step: Any, *variables: Any) -> tuple[Any, ...]:
        """Takes a step for each part, one after the other."""
        done = tf.while_loop(
            lambda i, *_: i < count,
            lambda i, *so_far: (i + 1, *step(i, *so_far)),
            (0, *variables),
            parallel_iterations=1,
        )
        return tuple(done[1:])

    @tf.custom_gradient
    def measure(hidden: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Any]:
        vectors = tf.cast(kernel, dtype)

        def forward(i: Tensor, losses: Any, errors: Any) -> tuple[Any, Any]:
            scores = tf.matmul(part(hidden, i), vectors, transpose_b=True)
            loss, error = _losses_and_errors(tf.cast(scores, tf.float32) + bias, part(targets, i))
            return losses.write(i, loss), errors.write(i, tf.cast(error, dtype))

        losses, errors = each(forward, places(tf.float32), places(dtype, kernel.shape[0]))

        def backward(upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            scale = upstream[:, tf.newaxis]
            scaled = tf.cast(tf.cast(hidden, tf.float32) * scale, dtype)

            def back(i: Tensor, d_hidden: Any, d_kernel: Any, d_bias: Any) -> tuple[Any, Any, Any]:
                error = errors.read(i)
                d_part = tf.cast(tf.matmul(error, vectors), tf.float32) * part(scale, i)
                d_vectors = tf.matmul(error, part(scaled, i), transpose_a=True)
                d_sum = tf.matmul(tf.cast(part(scale, i), dtype), error, transpose_a=True)[0]
                return (
                    d_hidden.write(i, tf.cast(d_part, dtype)),
                    d_kernel + tf.cast(d_vectors, tf.float32),
                    d_bias + tf.cast(d_sum, tf.float32),
                )

            zeros = tf.zeros_like(kernel), tf.zeros_like(bias)
            d_hidden, *d_weights = each(back, places(dtype, hidden.shape[1]), *zeros)
            return d_hidden.concat(), *d_weights

        return losses.concat(), backward

    return measure(hidden, kernel, bias)

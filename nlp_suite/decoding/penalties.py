"""How finished hypotheses of different lengths are compared."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Penalties:
    """The length and coverage penalties of Wu et al. 2016, https://arxiv.org/abs/1609.08144.

    Attributes:
        length: float32 [], the exponent of the length; 0 compares plain log-probabilities.
        coverage: float32 [], at least 0, the weight of memory that was left unattended.

    Example:
        A length of 7 with exponent 1 divides by (5 + 7) / 6:

        >>> penalties = Penalties(tf.constant(1.0), tf.constant(0.0))
        >>> float(penalties.score(tf.constant(-4.0), tf.constant(7), tf.ones([3])))
        -2.0
    """

    length: tf.Tensor
    coverage: tf.Tensor

    def score(
        self, log_probability: tf.Tensor, length: tf.Tensor, received: tf.Tensor
    ) -> tf.Tensor:
        """Ranks hypotheses: the higher, the better.

        Args:
            log_probability: float32 [rows].
            length: int32 [rows], generated tokens.
            received: float32 [rows, memory time], attention that each place has received in all.
                A place without any is taken for padding.
        """
        attended = tf.where(received > 0.0, tf.minimum(received, 1.0), 1.0)
        unattended = tf.reduce_sum(tf.math.log(attended), axis=-1)
        return log_probability / self._divisor(length) + self.coverage * unattended

    def bound(
        self, log_probability: tf.Tensor, length: tf.Tensor, max_length: tf.Tensor
    ) -> tf.Tensor:
        """Returns a score that no continuation of a hypothesis can exceed, float32 [rows].

        The rest would have to be certain, and the end come where the divisor is largest; which is
        now for a negative exponent, and at `max_length` else.
        """
        return log_probability / tf.maximum(self._divisor(length), self._divisor(max_length))

    def _divisor(self, length: tf.Tensor) -> tf.Tensor:
        return ((5.0 + tf.cast(tf.maximum(length, 1), tf.float32)) / 6.0) ** self.length

"""What a hypothesis may not say, and what it must: applied to the logits of each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import tensorflow as tf

from nlp_suite.specials import EOS, PAD

NEVER = float("-inf")


@dataclass(frozen=True)
class Constraints:
    """The rules for each row; times count from the start of the sequence, prefix included.

    Attributes:
        prefix: int32 [rows, longest], each row's forced tokens, then PAD.
        prefix_length: int32 [rows].
        min_length: int32 [rows], tokens to generate before EOS; None for none.
        max_length: int32 [rows], most tokens to generate after the prefix.
        longest: int32 [], the longest any row can become, prefix included.
        no_repeat_ngram: Longest n-gram that may come once only is one shorter; 0 allows all.
        forbidden: Token ids that are never generated.
    """

    prefix: tf.Tensor | None
    prefix_length: tf.Tensor
    min_length: tf.Tensor | None
    max_length: tf.Tensor
    longest: tf.Tensor
    no_repeat_ngram: int
    forbidden: tuple[int, ...]

    @classmethod
    def create(
        cls,
        batch: tf.Tensor,
        *,
        prefix: tf.RaggedTensor | None,
        min_length: tf.Tensor | int,
        max_length: tf.Tensor | int,
        no_repeat_ngram: int,
        forbidden: Sequence[int],
    ) -> Constraints:
        """Makes the rules for `batch` rows; lengths are int32 [] or [batch]."""
        prefix_length = tf.zeros([batch], tf.int32)
        if prefix is not None:
            prefix_length = tf.cast(prefix.row_lengths(), tf.int32)
        max_length = tf.broadcast_to(tf.maximum(tf.cast(max_length, tf.int32), 1), [batch])
        if isinstance(min_length, int) and min_length == 0:
            min_length = None
        else:
            min_length = tf.broadcast_to(tf.cast(min_length, tf.int32), [batch])
        longest = tf.maximum(tf.reduce_max(prefix_length + max_length), 1)  # 1: an empty batch
        if prefix is not None:
            prefix = tf.cast(prefix.to_tensor(PAD, shape=tf.stack([batch, longest])), tf.int32)
        return cls(
            prefix,
            prefix_length,
            min_length,
            max_length,
            longest,
            no_repeat_ngram,
            tuple(forbidden),
        )

    def take(self, rows: tf.Tensor) -> Constraints:
        """Returns the rules of some rows, int32 [rows]; the longest they can become stays."""

        def taken(tensor: tf.Tensor | None) -> tf.Tensor | None:
            return None if tensor is None else tf.gather(tensor, rows)

        return replace(
            self,
            prefix=taken(self.prefix),
            prefix_length=taken(self.prefix_length),
            min_length=taken(self.min_length),
            max_length=taken(self.max_length),
        )

    def is_forced(self, time: tf.Tensor) -> tf.Tensor:
        """Says whether the token at `time` belongs to the prefix, bool [rows]."""
        return time < self.prefix_length

    def is_last(self, time: tf.Tensor) -> tf.Tensor:
        """Says whether no token may follow the one at `time`, bool [rows]."""
        return time + 1 >= self.prefix_length + self.max_length

    def apply(self, logits: tf.Tensor, tokens: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        """Sets the logits of what may not come at `time` to -inf.

        Args:
            logits: float32 [rows, vocabulary].
            tokens: int32 [rows, longest], the sequences so far; only those before `time` count.
            time: int32 [], position of the token to choose.

        Returns:
            float32 [rows, vocabulary]. EOS stays possible where nothing else is.
        """
        ids = tf.range(tf.shape(logits)[-1])
        is_forbidden = tf.reduce_any(ids[:, tf.newaxis] == list(self.forbidden), axis=1)
        allowed = logits + tf.where(is_forbidden, NEVER, 0.0)  # a third of the time of tf.where
        if self.min_length is not None:
            too_short = time - self.prefix_length < self.min_length
            allowed = tf.where(too_short[:, tf.newaxis] & (ids == EOS), NEVER, allowed)
        if self.no_repeat_ngram:
            allowed = _block_ngrams(allowed, tokens, time, self.no_repeat_ngram)
            stuck = tf.reduce_all(allowed == NEVER, axis=1, keepdims=True)
            allowed = tf.where(stuck & (ids == EOS), logits, allowed)
        if self.prefix is not None:
            forced = tf.where(
                ids == tf.gather(self.prefix, time, axis=1)[:, tf.newaxis], 0.0, NEVER
            )
            allowed = tf.where(self.is_forced(time)[:, tf.newaxis], forced, allowed)
        return allowed


def _block_ngrams(logits: tf.Tensor, tokens: tf.Tensor, time: tf.Tensor, n: int) -> tf.Tensor:
    """Bans each token that would complete an n-gram already in the row (Paulus et al. 2017)."""
    starts = tf.maximum(tf.shape(tokens)[1] - n + 1, 0)
    repeats = tf.fill([tf.shape(tokens)[0], starts], True) & (tf.range(starts) + n - 1 < time)
    for offset in range(n - 1):
        recent = tf.gather(tokens, tf.maximum(time - n + 1 + offset, 0), axis=1)
        repeats &= tokens[:, offset : offset + starts] == recent[:, tf.newaxis]
    where = tf.cast(tf.where(repeats), tf.int32)
    completions = tf.gather_nd(tokens[:, n - 1 :], where)
    indices = tf.stack([where[:, 0], completions], axis=1)
    return tf.tensor_scatter_nd_min(logits, indices, tf.fill(tf.shape(completions), NEVER))

"""Labels of classes as ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import tensorflow as tf

from nlp_suite.errors import UserError
from nlp_suite.text.tokenizer import Tokenizer


class Labels(Tokenizer):
    """Maps the names of classes to ids and back: one id a text, no special tokens.

    Example:
        >>> labels = Labels.learn(["positive", "negative", "positive"])
        >>> labels.names
        ('negative', 'positive')
        >>> labels.encode(["positive", "negative"]).numpy()
        array([1, 0], dtype=int32)
    """

    kind = "labels"
    carries_over = False

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """Makes labels from their names; `learn` makes them from the labels of examples.

        Args:
            vocabulary: The names, index = id.

        Raises:
            UserError: There are fewer than two names, or one twice.
        """
        super().__init__(vocabulary)
        if self.vocabulary_size < 2:
            raise UserError(
                "`labels` must be of at least two kinds. "
                f"Received: labels={list(self.vocabulary)}. Add examples of another label."
            )
        with tf.device("CPU"):
            self._names = tf.constant(self.vocabulary, tf.string)
            ids = tf.range(self.vocabulary_size)
            self._ids = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(self._names, ids), -1
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, index = id."""
        return self.vocabulary

    @classmethod
    def learn(cls, texts: Iterable[str]) -> Self:
        """Collects the different labels, in alphabetical order.

        Args:
            texts: The label of each training example.

        Raises:
            UserError: There are fewer than two different labels.
        """
        return cls(sorted(set(texts)))

    def encode(self, texts: tf.Tensor) -> tf.Tensor:
        """Maps labels, string [batch], to ids, int32 [batch].

        Raises:
            tf.errors.InvalidArgumentError: A label is not one of `names`.
        """
        with tf.device("CPU"):
            ids = self._ids.lookup(tf.convert_to_tensor(texts, tf.string))
            unknown = tf.boolean_mask(texts, ids < 0)
            expected = f"Labels must be one of {', '.join(self.names[:20])}. Received:"
            tf.debugging.Assert(tf.size(unknown) == 0, [expected, unknown])
            return ids

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Maps ids, int32 [...], to the labels' names, string [...]."""
        with tf.device("CPU"):
            return tf.gather(self._names, ids)

"""The network of sentiment analysis."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.layers import Pooling, RNNStack, TokenEmbedding
from nlp_suite.specials import PAD, UNK


class SentimentClassifier(keras.Model):
    """Reads word vectors with a recurrent stack, pools its outputs and classifies them.

    A word has a learned vector and, beside it, one that starts from pretrained vectors: the two
    channels of Kim 2014, https://arxiv.org/abs/1408.5882.

    Args:
        learned: Vectors of the words that training texts have; others share that of UNK.
        pretrained: Vectors of all words, to be filled in; None for none.
        stack: The recurrent layers.
        pooling: Makes one vector of the outputs.
        classes: Number of labels.
        dropout: Share of the pooled vector dropped while training.
    """

    def __init__(
        self,
        learned: TokenEmbedding,
        pretrained: TokenEmbedding | None,
        stack: RNNStack,
        pooling: Pooling,
        classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.learned = learned
        self.pretrained = pretrained
        self.stack = stack
        self.pooling = pooling
        self.dropout = keras.layers.Dropout(dropout)
        self.classifier = keras.layers.Dense(classes, dtype="float32")

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Classifies a batch of texts.

        Args:
            inputs: `tokens`, int32 [batch, time], right-padded.
            training: Whether to drop out.

        Returns:
            float32 [batch, classes].
        """
        tokens = inputs["tokens"]
        mask = ops.not_equal(tokens, PAD)
        outputs, _ = self.stack(self._embed(tokens, training), mask=mask, training=training)
        pooled = self.dropout(self.pooling(outputs, mask=mask), training=training)
        return self.classifier(pooled)

    def _embed(self, tokens: Any, training: bool | None) -> Any:
        """Looks words up, float [batch, time, features]."""
        known = ops.where(tokens < self.learned.vocabulary_size, tokens, UNK)
        learned = self.learned(known, training=training)
        if self.pretrained is None:
            return learned
        return ops.concatenate([self.pretrained(tokens, training=training), learned], axis=-1)

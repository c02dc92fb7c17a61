"""The decoder: all steps at once under teacher forcing, or one step at a time."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.layers.masking import MaskedLayer
from nlp_suite.layers.stacks import RNNStack, State


@keras.saving.register_keras_serializable(package="nlp_suite")
class Decoder(MaskedLayer):
    """Predicts the next token from the tokens so far and a memory.

    The attention stands above the recurrent stack (Luong et al. 2015,
    https://arxiv.org/abs/1508.04025): the stack's outputs are the queries, so in training the whole
    sequence is one call of the stack, one of the attention and one product with the vocabulary.
    Outputs h and contexts c become `tanh(W [h, c])` before the logits.

    Args:
        embedding: Looks up the tokens; see `TokenEmbedding`.
        stack: Reads them forwards; see `RNNStack`.
        logits: Scores the vocabulary; see `Logits` and `TiedLogits`.
        attention: Looks at the memory; None for a decoder that has only its state.
    """

    def __init__(
        self,
        embedding: keras.layers.Layer,
        stack: RNNStack,
        logits: keras.layers.Layer,
        attention: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embedding = embedding
        self.stack = stack
        self.logits = logits
        self.attention = attention
        self.combine: keras.layers.Layer | None = None

    def build(self, tokens_shape: Any, memory_shape: Any = None) -> None:
        """Builds every part for a memory of this shape."""
        self.embedding.build(tokens_shape)
        self.stack.build((None, None, self.embedding.units))
        outputs_shape = (None, None, self.stack.units)
        if self.attention is not None:
            self.attention.build(outputs_shape, memory_shape)
            self.combine = keras.layers.Dense(
                self.stack.units, activation="tanh", use_bias=False, name="combine"
            )
            self.combine.build((None, None, self.stack.units + memory_shape[-1]))
        self.logits.build(outputs_shape)

    def call(
        self,
        tokens: Any,
        state: State,
        memory: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> tuple[Any, State, Any]:
        """Reads all tokens of each row: teacher forcing.

        Args:
            tokens: int [batch, time], what each step reads.
            state: The state to start from, a tuple of float [batch, units].
            memory: What is attended to, float [batch, source, features].
            mask: True at real entries of the memory, bool [batch, source].
            training: Whether to drop.

        Returns:
            Logits of the following tokens, float32 [batch, time, vocabulary]; the final state; the
            attention's weights, float [batch, time, source], or None without attention.
        """
        outputs, state = self.stack(
            self.embedding(tokens, training=training), initial_state=state, training=training
        )
        outputs, weights = self._attend(outputs, memory, mask)
        return self.logits(outputs), state, weights

    def step(
        self, tokens: Any, state: State, memory: Any = None, mask: Any = None
    ) -> tuple[Any, State, Any]:
        """Reads one token of each row with the same weights.

        Args:
            tokens: int [batch].
            state: The state so far.
            memory: As in `call`.
            mask: As in `call`.

        Returns:
            Logits, float32 [batch, vocabulary]; the next state; the attention's weights, float
            [batch, source], or None.
        """
        outputs, state = self.stack.step(self.embedding(tokens), state)
        outputs, weights = self._attend(outputs[:, None], memory, mask)
        weights = None if weights is None else weights[:, 0]
        return self.logits(outputs)[:, 0], state, weights

    def _attend(self, outputs: Any, memory: Any, mask: Any) -> tuple[Any, Any]:
        """Joins outputs with what they attend to."""
        if self.attention is None or self.combine is None:
            return outputs, None
        context, weights = self.attention(outputs, memory, mask=mask)
        return self.combine(ops.concatenate([outputs, context], axis=-1)), weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        parts = {
            "embedding": self.embedding,
            "stack": self.stack,
            "logits": self.logits,
            "attention": self.attention,
        }
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Decoder:
        """Makes the layer again from what `get_config` returned."""
        parts = {
            name: keras.saving.deserialize_keras_object(config.pop(name))
            for name in ("embedding", "stack", "logits", "attention")
        }
        return cls(**parts, **config)

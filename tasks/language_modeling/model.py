"""The network of language modeling."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.layers import LazyLogits, RNNStack, TokenEmbedding
from nlp_suite.specials import PAD

State = tuple[Any, ...]


class LanguageModel(keras.Model):
    """Predicts each next token from all before it.

    Args:
        embedding: Looks up the tokens.
        stack: Reads them forwards.
        logits: Scores the vocabulary.
    """

    def __init__(
        self, embedding: TokenEmbedding, stack: RNNStack, logits: keras.layers.Layer
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.stack = stack
        self.logits = logits

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Predicts the tokens that follow, from a state of zeros.

        Args:
            inputs: `tokens`, int32 [batch, time], right-padded.
            training: Whether to drop out.

        Returns:
            float32 [batch, time, vocabulary].
        """
        state = self.zero_state(ops.shape(inputs["tokens"])[0])
        return self.call_with_state(inputs, state, training=training)[0]

    def call_with_state(
        self, inputs: dict[str, Any], state: State, training: bool | None = None
    ) -> tuple[Any, State]:
        """Goes on predicting where an earlier call stopped.

        Args:
            inputs: `tokens`, int32 [batch, time], right-padded.
            state: What the earlier call returned, or `zero_state`.
            training: Whether to drop out.

        Returns:
            Logits, float32 [batch, time, vocabulary], and the final state.
        """
        outputs, state = self.read(inputs, state, training=training)
        return self.logits(outputs), state

    def lazy_logits(
        self, inputs: dict[str, Any], state: State, training: bool | None = None
    ) -> tuple[LazyLogits, State]:
        """Does what `call_with_state` does, and leaves the logits to the loss."""
        outputs, state = self.read(inputs, state, training=training)
        return self.logits.lazy(outputs), state

    def read(
        self, inputs: dict[str, Any], state: State, training: bool | None = None
    ) -> tuple[Any, State]:
        """Reads on where an earlier call stopped, without predicting.

        Args:
            inputs: `tokens`, int32 [batch, time], right-padded.
            state: The state so far.
            training: Whether to drop out.

        Returns:
            What `logits` scores the vocabulary with, float [batch, time, units], and the final
            state.
        """
        tokens = inputs["tokens"]
        embedded = self.embedding(tokens, training=training)
        return self.stack(
            embedded, mask=ops.not_equal(tokens, PAD), initial_state=state, training=training
        )

    def zero_state(self, batch_size: Any) -> State:
        """Gives the state before anything was read, a tuple of float [batch, units]."""
        return self.stack.zero_state(batch_size)

    def step(self, tokens: Any, state: State, context: Any = ()) -> tuple[Any, State, None]:
        """Predicts one next token with the same weights.

        Args:
            tokens: The latest tokens, int32 [batch].
            state: The state so far.
            context: Nothing: a language model looks at its state alone.

        Returns:
            Logits, float32 [batch, vocabulary], the next state, and no attention.
        """
        del context
        outputs, state = self.stack.step(self.embedding(tokens), state)
        return self.logits(outputs), state, None

"""The encoder-decoder: one network with two uses, whole targets in training and steps in decoding.

Sources: Sutskever et al. 2014, https://arxiv.org/abs/1409.3215; Bahdanau et al. 2015,
https://arxiv.org/abs/1409.0473; for images Vinyals et al. 2015, https://arxiv.org/abs/1411.4555,
and Xu et al. 2015, https://arxiv.org/abs/1502.03044.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from nlp_suite.layers import (
    Bridge,
    Decoder,
    ImageEncoder,
    LazyLogits,
    RNNStack,
    ScheduledSampling,
    TokenEmbedding,
)
from nlp_suite.layers.base import build_once
from nlp_suite.specials import PAD

Context = tuple[Any, Any, Any]
"""What the decoder attends to: memory, float [batch, places, features], its mask, and its keys."""


class TextEncoder(keras.layers.Layer):
    """Reads token ids; every token becomes a place of the memory.

    Args:
        embedding: Maps token ids to vectors.
        stack: Reads the vectors, usually in both directions.
        lexical: Add each token's own vector to its place of the memory, projected where sizes
            differ, so that a decoder sees the word itself beside its context (Gehring et al. 2017,
            https://arxiv.org/abs/1705.03122).
    """

    def __init__(
        self, embedding: TokenEmbedding, stack: RNNStack, *, lexical: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.embedding = embedding
        self.stack = stack
        self.lexical = lexical
        self.projection: keras.layers.Layer | None = None

    def build(self, tokens_shape: tuple[int | None, ...]) -> None:
        """Builds the stack, and the projection where one is needed."""
        build_once(self.embedding, tokens_shape)
        vectors_shape = (*tokens_shape, self.embedding.units)
        build_once(self.stack, vectors_shape)
        if self.lexical and self.stack.widths[-1] != self.embedding.units:
            self.projection = keras.layers.Dense(
                self.stack.widths[-1], use_bias=False, name="lexical", dtype=self.dtype_policy
            )
            self.projection.build(vectors_shape)

    def call(self, tokens: Any, training: bool | None = None) -> tuple[Any, Any, Any]:
        """Encodes a batch of texts.

        Args:
            tokens: int32 [batch, time], right-padded with PAD.
            training: Whether to drop out.

        Returns:
            The memory, float [batch, time, features], its mask, bool [batch, time], and the final
            state.
        """
        mask = ops.not_equal(tokens, PAD)
        embedded = self.embedding(tokens, training=training)
        memory, state = self.stack(embedded, mask=mask, training=training)
        if self.lexical:
            words = embedded if self.projection is None else self.projection(embedded)
            memory = memory + words * ops.cast(mask[..., None], words.dtype)
        return memory, mask, state


class RegionEncoder(keras.layers.Layer):
    """Looks at images; every region becomes a place of the memory.

    Args:
        encoder: Maps images to regions.
    """

    def __init__(self, encoder: ImageEncoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, images: Any, training: bool | None = None) -> tuple[Any, Any, Any]:
        """Encodes a batch of images.

        Args:
            images: uint8 [batch, height, width, 3].
            training: Whether to drop out.

        Returns:
            The memory, float [batch, regions, features], its mask, bool [batch, regions], and as
            the state the mean region, with which Xu et al. start their decoder.
        """
        regions = self.encoder(images, training=training)
        mask = ops.ones_like(regions[..., 0], dtype="bool")
        return regions, mask, (ops.mean(regions, axis=1),)


class EncoderDecoder(keras.Model):
    """An encoder, a bridge between the states, and a decoder that attends to the memory.

    Args:
        encoder: Maps the source to (memory, mask, state).
        bridge: Maps the encoder's state to the decoder's first.
        decoder: Predicts each next token.
        sampling: Lets the decoder read predictions of its own while training; None for never.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        bridge: Bridge,
        decoder: Decoder,
        sampling: ScheduledSampling | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.bridge = bridge
        self.decoder = decoder
        self.sampling = sampling

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Predicts every token of the target from the ones before it: teacher forcing.

        Source: Williams & Zipser 1989, https://doi.org/10.1162/neco.1989.1.2.270.

        Args:
            inputs: `source`, what the encoder reads, and `tokens`, int32 [batch, time]: the target
                with BOS before it.
            training: Whether to drop out, and to replace some of the tokens where there is
                `sampling`.

        Returns:
            float32 [batch, time, vocabulary].
        """
        return self._decode(self.decoder, inputs, training)

    def lazy_logits(self, inputs: dict[str, Any], training: bool | None = None) -> LazyLogits:
        """Does what `call` does once the model is built, and leaves the logits to the loss."""
        outputs = self._decode(self.decoder.read, inputs, training)
        return self.decoder.logits.lazy(outputs)

    def _decode(
        self, decode: Callable[..., Any], inputs: dict[str, Any], training: bool | None
    ) -> Any:
        """Has the decoder, or its `read`, go through the tokens, and gives what it says of them."""
        state, memory, mask = self._encode(inputs["source"], training)
        tokens = inputs["tokens"]
        if training and self.sampling is not None:
            logits, _, _ = self.decoder(tokens, state, memory, mask=mask, training=False)
            tokens = self.sampling(tokens, logits)
        return decode(tokens, state, memory, mask=mask, training=training)[0]

    def start(self, source: Any) -> tuple[Any, Context]:
        """Encodes the source, once for all steps of decoding.

        Args:
            source: What the encoder reads.

        Returns:
            The decoder's first state, and the memory with its mask and its keys.
        """
        state, memory, mask = self._encode(source, training=False)
        return state, (memory, mask, self.decoder.keys(memory))

    def _encode(self, source: Any, training: bool | None) -> tuple[Any, Any, Any]:
        """Gives the decoder's first state, the memory and its mask."""
        memory, mask, state = self.encoder(source, training=training)
        return self.decoder.first_state(self.bridge(state), memory), memory, mask

    def step(self, tokens: Any, state: Any, context: Context) -> tuple[Any, Any, Any]:
        """Predicts one next token, with the weights that `call` uses.

        Args:
            tokens: The latest tokens, int32 [batch].
            state: The decoder's state so far.
            context: What `start` gave.

        Returns:
            Logits, float32 [batch, vocabulary], the next state, and the attention,
            float [batch, places].
        """
        memory, mask, keys = context
        return self.decoder.step(tokens, state, memory, mask=mask, keys=keys)

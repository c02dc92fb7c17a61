"""Attention: a weighted look at a memory, such as encoder outputs or the regions of an image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.errors import UserError
from nlp_suite.layers.masking import MaskedLayer, masked_softmax

KINDS = ("dot", "scaled_dot", "general", "additive")


@keras.saving.register_keras_serializable(package="nlp_suite")
class Attention(MaskedLayer):
    """Looks at a memory with each query and returns what was seen.

    The weights are `softmax(score(query, memory))` over the real entries of the memory; those of
    padding are exactly zero, and a memory that is all padding gives a context of zeros. With query
    q and memory entry m the score is

    - dot: `q . m` (Luong et al. 2015, https://arxiv.org/abs/1508.04025)
    - scaled_dot: `q . m / sqrt(size)` (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)
    - general: `q . W m` (Luong et al. 2015)
    - additive: `v . tanh(W q + U m + b)` (Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473)

    Args:
        kind: dot, scaled_dot, general or additive.
        units: Size of the additive score's hidden layer; None for the query's size.
        gate: Scale each context by `sigmoid(w . q + b)`, so that the decoder can look away from
            the memory (Xu et al. 2015, https://arxiv.org/abs/1502.03044).

    Raises:
        UserError: `kind` is none of these, or dot attention is asked of sizes that differ.

    Example:
        >>> query, memory = ops.ones((2, 3, 4)), ops.ones((2, 5, 6))
        >>> context, weights = Attention("general")(query, memory)
        >>> tuple(context.shape), tuple(weights.shape)
        ((2, 3, 6), (2, 3, 5))
    """

    def __init__(
        self, kind: str, *, units: int | None = None, gate: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise UserError(
                f"`attention` must be one of {', '.join(KINDS)}. Received: attention={kind}. "
                "Try --attention general."
            )
        self.kind = kind
        self.units = units
        self.gate = keras.layers.Dense(1, activation="sigmoid", name="gate") if gate else None

    def build(
        self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]
    ) -> None:
        """Makes the weights for queries and memories of these shapes."""
        query_size, memory_size = query_shape[-1], memory_shape[-1]
        if self.kind in ("dot", "scaled_dot") and query_size != memory_size:
            raise UserError(
                f"`attention`={self.kind} needs a decoder and a memory of one size. Received: "
                f"decoder={query_size}, memory={memory_size}. Use --attention general."
            )
        if self.kind == "general":
            self.query_projection = keras.layers.Dense(memory_size, use_bias=False, name="query")
            self.query_projection.build(query_shape)
        if self.kind == "additive":
            units = self.units or query_size
            self.query_projection = keras.layers.Dense(units, name="query")
            self.memory_projection = keras.layers.Dense(units, use_bias=False, name="memory")
            self.energy = keras.layers.Dense(1, use_bias=False, name="energy")
            self.query_projection.build(query_shape)
            self.memory_projection.build(memory_shape)
            self.energy.build((None, units))
        if self.gate is not None:
            self.gate.build(query_shape)

    def call(self, query: Any, memory: Any, mask: Any = None) -> tuple[Any, Any]:
        """Looks at the memory.

        Args:
            query: float [batch, time, query size].
            memory: float [batch, source, memory size].
            mask: True at real entries of the memory, bool [batch, source]; None when all are real.

        Returns:
            Context, float [batch, time, memory size], and weights, float [batch, time, source].
        """
        # In float32 also under mixed precision: a softmax over long memories needs its digits.
        scores = ops.cast(self._scores(query, memory), "float32")
        weights = ops.cast(masked_softmax(scores, mask), memory.dtype)
        context = ops.matmul(weights, memory)
        if self.gate is not None:
            context = self.gate(query) * context
        return context, weights

    def _scores(self, query: Any, memory: Any) -> Any:
        """Returns unnormalised weights, float [batch, time, source]."""
        if self.kind == "additive":
            queries = self.query_projection(query)[:, :, None]
            keys = self.memory_projection(memory)[:, None]
            return ops.squeeze(self.energy(ops.tanh(queries + keys)), axis=-1)
        if self.kind == "general":
            query = self.query_projection(query)
        scores = ops.matmul(query, ops.transpose(memory, (0, 2, 1)))
        return scores / memory.shape[-1] ** 0.5 if self.kind == "scaled_dot" else scores

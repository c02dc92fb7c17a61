"""From a sequence of outputs to one vector."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.layers.base import MaskedLayer
from nlp_suite.layers.checks import check_choice
from nlp_suite.layers.masking import masked_max, masked_mean, masked_softmax

KINDS = ("last", "max", "mean", "concat", "attention")


@keras.saving.register_keras_serializable(package="nlp_suite")
class Pooling(MaskedLayer):
    """Summarises the outputs of a recurrent network, blind to padding.

    A row that is all padding gives zeros.

    Args:
        kind: last (the state of reading to the end), max, mean, concat (all three side by side;
            Howard & Ruder 2018, https://arxiv.org/abs/1801.06146) or attention (a mean weighted by
            `softmax(v . tanh(W x + b))`; Yang et al. 2016, https://aclanthology.org/N16-1174).
        bidirectional: The features are a forward half and a backward half. A backward reader ends
            at the first time step, so `last` takes its half from there.

    Raises:
        UserError: `kind` is none of these.

    Example:
        >>> outputs = ops.array([[[1.0], [3.0], [9.0]]])
        >>> mask = ops.array([[True, True, False]])
        >>> [float(Pooling(kind)(outputs, mask=mask)[0, 0]) for kind in ("last", "max", "mean")]
        [3.0, 3.0, 2.0]
    """

    def __init__(self, kind: str, *, bidirectional: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_choice("pooling", kind, KINDS, "concat")
        self.kind = kind
        self.bidirectional = bidirectional

    def build(self, outputs_shape: tuple[int | None, ...]) -> None:
        """Makes the weights that attention needs."""
        if self.kind == "attention":
            features = outputs_shape[-1]
            policy = self.dtype_policy
            self.hidden = keras.layers.Dense(
                features, activation="tanh", name="hidden", dtype=policy
            )
            self.energy = keras.layers.Dense(1, use_bias=False, name="energy", dtype=policy)
            self.hidden.build(outputs_shape)
            self.energy.build(outputs_shape)

    def call(self, outputs: Any, mask: Any = None) -> Any:
        """Maps float [batch, time, features] to [batch, features], or three times as many.

        Args:
            outputs: float [batch, time, features], right-padded.
            mask: True at real steps, bool [batch, time]; None when there is no padding.
        """
        if mask is None:
            mask = ops.ones_like(outputs[..., 0], dtype="bool")
        if self.kind == "concat":
            last, largest = self._last(outputs, mask), masked_max(outputs, mask)
            return ops.concatenate([last, largest, masked_mean(outputs, mask)], axis=-1)
        if self.kind == "last":
            return self._last(outputs, mask)
        if self.kind == "attention":
            return self._attended(outputs, mask)
        return masked_max(outputs, mask) if self.kind == "max" else masked_mean(outputs, mask)

    def _last(self, outputs: Any, mask: Any) -> Any:
        """Takes the outputs after the whole row was read."""
        real = ops.cast(mask, outputs.dtype)
        # One at the last real step: real, and not followed by a real one.
        following = ops.pad(real[:, 1:], [(0, 0), (0, 1)])
        final = ops.einsum("bt,btf->bf", real - following, outputs)
        if not self.bidirectional:
            return final
        half = outputs.shape[-1] // 2
        first = outputs[:, 0] * real[:, :1]
        return ops.concatenate([final[:, :half], first[:, half:]], axis=-1)

    def _attended(self, outputs: Any, mask: Any) -> Any:
        """Averages by learned weights."""
        scores = self.energy(self.hidden(outputs))[..., 0]
        weights = masked_softmax(scores[:, None], mask)
        return ops.matmul(ops.cast(weights, outputs.dtype), outputs)[:, 0]

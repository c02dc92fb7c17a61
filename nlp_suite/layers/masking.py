"""Masks, which are explicit here: bool [batch, time], True at real steps, False at padding.

Keras can also carry masks along unseen, attached to tensors. Those get lost on the way (in
attention, in arithmetic, in exports) without a sign, so no layer of this package relies on them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class MaskedLayer(keras.layers.Layer):
    """A layer that takes its mask as an argument and attaches none to its outputs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """Attaches no mask to the outputs."""


def masked_softmax(scores: Any, mask: Any = None) -> Any:
    """Normalises scores over the real entries; entries that are padding weigh exactly zero.

    Args:
        scores: float32 [batch, time, source].
        mask: bool [batch, source]; None when all is real.

    Returns:
        Weights of the same shape; zeros in a row without a real entry.
    """
    if mask is None:
        return ops.softmax(scores, axis=-1)
    real = ops.cast(mask, scores.dtype)[:, None]
    return ops.softmax(scores - 1e9 * (1.0 - real), axis=-1) * real


def masked_max(values: Any, mask: Any) -> Any:
    """Takes each feature's largest value over the real steps.

    Args:
        values: float [batch, time, features].
        mask: bool [batch, time].

    Returns:
        float [batch, features]; zeros in a row without a real step.
    """
    lowered = ops.where(mask[..., None], values, ops.full_like(values, -1e9))
    return ops.where(ops.any(mask, axis=1)[:, None], ops.max(lowered, axis=1), 0.0)


def masked_mean(values: Any, mask: Any) -> Any:
    """Averages each feature over the real steps.

    Args:
        values: float [batch, time, features].
        mask: bool [batch, time].

    Returns:
        float [batch, features]; zeros in a row without a real step.
    """
    real = ops.cast(mask, values.dtype)[..., None]
    return ops.sum(values * real, axis=1) / ops.maximum(ops.sum(real, axis=1), 1)

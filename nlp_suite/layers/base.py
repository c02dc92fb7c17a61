"""What the layers of this package have in common."""

from __future__ import annotations

from typing import Any

import keras


class MaskedLayer(keras.layers.Layer):
    """A layer that takes its mask as an argument and attaches none to its outputs.

    Keras can also carry masks along unseen, attached to tensors. Those get lost on the way (in
    attention, in arithmetic, in exports) without a sign, so no layer of this package relies on
    them.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """Attaches no mask to the outputs."""


def build_once(layer: keras.layers.Layer, *shapes: Any) -> None:
    """Builds an inner layer unless it is built: when it is shared, or was loaded with its layer.

    Args:
        layer: The inner layer.
        *shapes: The arguments of its `build`.
    """
    if not layer.built:
        layer.build(*shapes)

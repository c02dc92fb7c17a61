"""The network of image captioning, from features that were computed before."""

from __future__ import annotations

from typing import Any

import keras

from nlp_suite.layers import ByteDropout


class FeatureEncoder(keras.layers.Layer):
    """Maps fixed features of image regions to the decoder's size.

    Args:
        units: Size of a region's vector.
        dropout: Share of the features dropped while training: captions are few, features are many.
    """

    def __init__(self, units: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dropout = ByteDropout(dropout)
        self.projection = keras.layers.Dense(units, activation="relu")

    def call(self, features: Any, training: bool | None = None) -> Any:
        """Maps float16 [batch, regions, features] to float [batch, regions, units]."""
        features = keras.ops.cast(features, self.compute_dtype)
        return self.projection(self.dropout(features, training=training))

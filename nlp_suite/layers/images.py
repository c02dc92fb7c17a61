"""From images to regions that a decoder can attend to."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="nlp_suite")
class ImageEncoder(keras.layers.Layer):
    """Maps images to a grid of region vectors with a small convolutional network.

    Each block halves height and width: convolution, batch normalisation (Ioffe & Szegedy 2015,
    https://arxiv.org/abs/1502.03167), ReLU, convolution, batch normalisation, ReLU, max pooling.

    Args:
        units: Size of a region's vector.
        filters: Filters of each block; an image of size 64 has 8 x 8 regions after three.

    Example:
        >>> images = ops.zeros((2, 32, 32, 3), dtype="uint8")
        >>> tuple(ImageEncoder(16, filters=(4, 8, 8))(images).shape)
        (2, 16, 16)
    """

    def __init__(
        self, units: int, *, filters: tuple[int, ...] = (32, 64, 128), **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.blocks = keras.Sequential(
            [layer for count in filters for layer in _block(count)], name="blocks"
        )
        self.projection = keras.layers.Dense(units, name="projection")

    def build(self, images_shape: tuple[int | None, ...]) -> None:
        """Builds the network for images of this shape."""
        self.blocks.build(images_shape)
        self.projection.build(self.blocks.compute_output_shape(images_shape))

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Maps uint8 [batch, height, width, 3] to float [batch, regions, units]."""
        pixels = ops.cast(images, self.compute_dtype) / 127.5 - 1.0
        grid = self.projection(self.blocks(pixels, training=training))
        _, height, width, units = grid.shape
        return ops.reshape(grid, (-1, height * width, units))


def _block(filters: int) -> list[keras.layers.Layer]:
    """Returns the layers of one block."""
    convolution = [
        layer
        for _ in range(2)
        for layer in (
            keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        )
    ]
    return [*convolution, keras.layers.MaxPooling2D()]

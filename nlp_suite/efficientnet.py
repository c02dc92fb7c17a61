"""Features of images from a network that knows ImageNet, as graph code with its weights built in.

EfficientNet-Lite0 is EfficientNet-B0 (Tan & Le 2019, https://arxiv.org/abs/1905.11946) without
squeeze-and-excitation and with ReLU6, made for processors. It is not trained further here, so it is
a fixed step of reading an image, as a tokenizer is of reading a text: features are computed once,
before training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

WEIGHTS = Path(__file__).parent / "efficientnet_lite0.npz"
"""Kernels and biases, float16, batch normalisation folded in; the licence lies beside it."""
FEATURES = 1280
"""Size of a region's vector."""
STRIDE = 32
"""Pixels of the image for each region, in height and in width."""

TOGETHER = 32
"""Images described at once: 1.3 times as fast as eight, which are 1.5 times as fast as one by one;
the first layers of a thousand would take gigabytes."""


class Block(NamedTuple):
    """An inverted residual block (Sandler et al. 2018, https://arxiv.org/abs/1801.04381).

    Attributes:
        name: Names its layers in the file of weights.
        kernel: Width of the depthwise convolution.
        stride: Its stride.
        expands: Whether a pointwise convolution widens the block first.
        residual: Whether the block's input is added to its output.
    """

    name: str
    kernel: int
    stride: int
    expands: bool
    residual: bool


def lite0_regions(images: tf.Tensor) -> tf.Tensor:
    """Describes the regions of images with EfficientNet-Lite0's last feature map.

    Args:
        images: uint8 [batch, size, size, 3].

    Returns:
        float16 [batch, regions, FEATURES], row by row; regions at the right and lower edges may be
        cut off by the edge.

    Example:
        >>> lite0_regions(tf.zeros([1, 64, 64, 3], tf.uint8)).shape
        TensorShape([1, 4, 1280])
        >>> lite0_regions(tf.zeros([2, 65, 65, 3], tf.uint8)).shape
        TensorShape([2, 9, 1280])
    """
    if images.shape[0] == 1:
        return _regions(images)  # LiteRT knows neither a loop over float16 nor its slices.
    count, regions = tf.shape(images)[0], math.ceil(images.shape[1] / STRIDE) ** 2
    groups = -(-count // TOGETHER)
    described = tf.TensorArray(
        tf.float16, groups, element_shape=[None, regions, FEATURES], infer_shape=False
    )
    _, described = tf.while_loop(
        lambda group, _: group < groups,
        lambda group, described: (
            group + 1,
            described.write(group, _regions(images[TOGETHER * group : TOGETHER * (group + 1)])),
        ),
        (0, described),
        parallel_iterations=1,
    )
    return described.concat()


def _regions(images: tf.Tensor) -> tf.Tensor:
    """Describes images all at once; shapes are those of `lite0_regions`."""
    # The network was trained on pixels from -1 to 1.
    grid = (tf.cast(images, tf.float32) - 127.0) / 128.0
    grid = tf.nn.relu6(_convolve(grid, "stem", stride=2))
    for block in _blocks():
        grid = _inverted_residual(grid, block)
    grid = tf.nn.relu6(_convolve(grid, "head"))
    regions = grid.shape[1] * grid.shape[2]
    return tf.cast(tf.reshape(grid, [-1, regions, FEATURES]), tf.float16)


def _blocks() -> Iterator[Block]:
    """Lists the sixteen blocks, from the image to the features."""
    stages = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))
    number = 0
    for repeats, kernel, stride in stages:
        for repeat in range(repeats):
            first = repeat == 0
            yield Block(str(number), kernel, stride if first else 1, number > 0, not first)
            number += 1


def _inverted_residual(grid: tf.Tensor, block: Block) -> tf.Tensor:
    """Widens, filters each channel by itself, and narrows again."""
    inner = grid
    if block.expands:
        inner = tf.nn.relu6(_convolve(inner, f"{block.name}_expand"))
    kernel, bias = _weights(f"{block.name}_depthwise")
    strides = [1, block.stride, block.stride, 1]
    inner = tf.nn.relu6(tf.nn.depthwise_conv2d(inner, kernel, strides, "SAME") + bias)
    inner = _convolve(inner, f"{block.name}_project")
    return grid + inner if block.residual else inner


def _convolve(grid: tf.Tensor, name: str, stride: int = 1) -> tf.Tensor:
    kernel, bias = _weights(name)
    return tf.nn.conv2d(grid, kernel, stride, "SAME") + bias


def _weights(name: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Gives a layer's kernel and bias; an export stores them as they are on disk, in float16."""
    kernel, bias = (tf.constant(_arrays()[f"{name}_{part}"]) for part in ("kernel", "bias"))
    return tf.cast(kernel, tf.float32), tf.cast(bias, tf.float32)


@cache
def _arrays() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float16]]]:
    with np.load(WEIGHTS) as file:
        return dict(file)

"""Which layers learn from which epoch on, and how fast: what training asks of a model.

Layers that start from weights learned elsewhere are spoiled by the large gradients of the fresh
layers above them. So they stay frozen for the first epochs (gradual unfreezing) or learn at a
fraction of the rate (discriminative rates). Source: Howard & Ruder 2018,
https://arxiv.org/abs/1801.06146.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from nlp_suite.config import FinetuningConfig, TransferConfig


def finetune(layer: keras.layers.Layer, config: FinetuningConfig) -> None:
    """Asks that a pretrained layer learns when and as fast as the settings say.

    Args:
        layer: Any layer or model, built or not.
        config: A task's settings.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> finetune(layer, FinetuningConfig(frozen_epochs=-1))
        >>> layer.trainable
        False
    """
    if config.frozen_epochs < 0:
        layer.trainable = False
        return
    freeze_until(layer, config.frozen_epochs)
    scale_rate(layer, config.pretrained_rate)


def finetune_in_turn(layers: Sequence[keras.layers.Layer], config: TransferConfig) -> None:
    """Asks that pretrained layers learn the later and the slower, the lower they are.

    Args:
        layers: The layers from the bottom up.
        config: A task's settings.

    Example:
        >>> low, high = keras.layers.Dense(2), keras.layers.Dense(2)
        >>> config = TransferConfig(frozen_epochs=1, unfreeze="gradual", layer_rate_factor=2)
        >>> finetune_in_turn([low, high], config)
        >>> high.frozen_until, high.rate_scale, low.frozen_until, low.rate_scale
        (1, 1.0, 2, 0.5)
    """
    is_gradual = config.unfreeze == "gradual" and config.frozen_epochs >= 0
    for below, layer in enumerate(reversed(layers)):
        settings = FinetuningConfig(
            frozen_epochs=config.frozen_epochs + below * is_gradual,
            pretrained_rate=config.pretrained_rate / config.layer_rate_factor**below,
        )
        finetune(layer, settings)


def freeze_until(layer: keras.layers.Layer, epoch: int) -> None:
    """Asks that a layer and all within it stay frozen in the epochs before this one.

    Args:
        layer: Any layer or model.
        epoch: The first epoch, counted from 0, in which it learns. 0 never freezes it.
    """
    layer.frozen_until = epoch


def thaw(model: keras.layers.Layer, epoch: int) -> None:
    """Freezes and unfreezes the layers of a model as `freeze_until` asked for.

    Args:
        model: A model with layers at any depth. What is asked of an inner layer wins over what is
            asked of one that holds it.
        epoch: The epoch that begins, counted from 0.

    Example:
        >>> model = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(2)])
        >>> model.build((None, 2))
        >>> freeze_until(model.layers[0], 1)
        >>> thaw(model, 0)
        >>> len(model.trainable_weights)
        2
        >>> thaw(model, 1)
        >>> len(model.trainable_weights)
        4
    """
    for layer in _with(model, "frozen_until"):
        layer.trainable = epoch >= layer.frozen_until


def scale_rate(layer: keras.layers.Layer, scale: float) -> None:
    """Asks that a layer and all within it learn at a multiple of the learning rate.

    Args:
        layer: Any layer or model.
        scale: Factor of the rate; Howard & Ruder take 1 / 2.6 for each layer further down.
    """
    layer.rate_scale = scale


def rate_scales(model: keras.layers.Layer) -> dict[str, float]:
    """Tells the factor of the learning rate of each weight for which `scale_rate` asked for one.

    Args:
        model: A built model. What is asked of an inner layer wins over what is asked of one that
            holds it.

    Returns:
        Factors by the weights' paths.

    Example:
        >>> low, high = keras.layers.Dense(2, name="low"), keras.layers.Dense(2, name="high")
        >>> model = keras.Sequential([low, high], name="tower")
        >>> model.build((None, 2))
        >>> scale_rate(low, 0.5)
        >>> rate_scales(model)
        {'tower/low/kernel': 0.5, 'tower/low/bias': 0.5}
    """
    scales: dict[str, float] = {}
    for layer in _with(model, "rate_scale"):
        scales |= {weight.path: layer.rate_scale for weight in layer.trainable_weights}
    return scales


def _with(model: keras.layers.Layer, attribute: str) -> list[Any]:
    """Lists the layers of which something was asked, those that hold others before these.

    An embedding that is tied to the logits is a layer of the model and one within the logits.
    """
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, attribute)]
    return sorted(layers, key=lambda layer: -len(layer._flatten_layers()))

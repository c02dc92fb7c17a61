"""What keeps recurrent networks from learning their training text by heart."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.layers.base import MaskedLayer
from nlp_suite.layers.checks import check_share


@keras.saving.register_keras_serializable(package="nlp_suite")
class VariationalDropout(MaskedLayer):
    """Drops the same features at every time step of a sequence while training.

    Also called locked dropout. It leaves no step to recover what another step lost, which plain
    dropout does.

    Source: Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287.

    Args:
        rate: Share of features dropped.
        seed: Seeds the masks.

    Example:
        >>> outputs = VariationalDropout(0.5, seed=1)(ops.ones((1, 3, 8)), training=True)
        >>> bool(ops.all(outputs[0, 0] == outputs[0, 2]))
        True
    """

    def __init__(self, rate: float, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_share("dropout", rate)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Makes no weights: there are none."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Maps float [batch, time, features] to the same shape."""
        if not training or not self.rate:
            return inputs
        batch, _, features = ops.shape(inputs)
        return keras.random.dropout(
            inputs, self.rate, noise_shape=(batch, 1, features), seed=self.seed_generator
        )


@keras.saving.register_keras_serializable(package="nlp_suite")
class ByteDropout(keras.layers.Layer):
    """Drops single features while training, as Keras's layer does, in two thirds of the time.

    Most of that time goes into random numbers. One of 32 bits is enough for four features, when the
    rate is one of the 256 that a byte can tell apart.

    Args:
        rate: Share of features dropped, to the nearest 1/256.
        seed: Seeds the masks.

    Example:
        >>> kept = ByteDropout(0.3, seed=1)(ops.ones((10, 1000)), training=True) > 0
        >>> round(float(ops.mean(ops.cast(kept, "float32"))), 1)
        0.7
    """

    def __init__(self, rate: float, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_share("dropout", rate)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Makes no weights: there are none."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Maps float [..., features] to the same shape."""
        dropped = min(round(256 * self.rate), 255)
        if not training or not dropped:
            return inputs
        *others, features = ops.shape(inputs)
        numbers = keras.random.randint(
            (*others, -(-features // 4)), -(2**31), 2**31 - 1, seed=self.seed_generator
        )
        kept = ops.view(numbers, "uint8")[..., :features] >= dropped
        return ops.where(kept, inputs * (256 / (256 - dropped)), 0)


@keras.saving.register_keras_serializable(package="nlp_suite")
class ActivationRegularization(MaskedLayer):
    """Adds AR and TAR to the training loss: outputs that are small and change slowly over time.

    AR is `activation * mean(dropped ** 2)` over the outputs after dropout, and TAR is
    `temporal * mean((outputs[t + 1] - outputs[t]) ** 2)` over those before it; both means run over
    the real time steps alone.

    Source: Merity et al. 2017, https://arxiv.org/abs/1708.01009.

    Args:
        activation: Weight of AR.
        temporal: Weight of TAR.
    """

    def __init__(self, activation: float = 0.0, temporal: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.temporal = temporal

    def build(self, outputs_shape: tuple[int | None, ...]) -> None:
        """Makes no weights: there are none."""

    def call(
        self, outputs: Any, dropped: Any, mask: Any = None, training: bool | None = None
    ) -> Any:
        """Returns `dropped` as it is and adds the loss while training.

        Args:
            outputs: Outputs before dropout, float [batch, time, units].
            dropped: The same after dropout.
            mask: True at real time steps, bool [batch, time].
            training: Whether the loss is wanted.
        """
        if training:
            real = ops.ones_like(outputs[..., 0]) if mask is None else mask
            if self.activation:
                self.add_loss(self.activation * _mean_over_real(ops.square(dropped), real))
            if self.temporal:
                # Not by slices: their gradients, zeros but for a slice, take several times as long.
                change = ops.square(outputs - ops.roll(outputs, 1, axis=1))
                follows = ops.concatenate([ops.zeros_like(real[:, :1]), real[:, 1:]], axis=1)
                self.add_loss(self.temporal * _mean_over_real(change, follows))
        return dropped


def _mean_over_real(values: Any, mask: Any) -> Any:
    """Averages float [batch, time, features] over all that is real, in float32; 0 if nothing is."""
    weights = ops.cast(mask, "float32")
    sums = ops.sum(ops.mean(ops.cast(values, "float32"), axis=-1) * weights)
    return sums / ops.maximum(ops.sum(weights), 1.0)

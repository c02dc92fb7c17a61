"""Recurrent cells with layer normalisation inside the recurrence.

Normalising the summed inputs of every gate over the units keeps the recurrence's scale steady over
long sequences. Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450, whose supplement has the
equations of all three cells. Wx and Uh are normalised apart, so each has its own gain.

A cell maps the inputs of one time step, float [batch, features], and the state to the outputs,
float [batch, units], and the next state. None of them can run as a fused cuDNN kernel.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class LayerNormCell(keras.layers.Layer):
    """What the three cells share: kernels, bias and one normalisation for each kernel.

    Args:
        units: Size of the state.
    """

    gates: int

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.output_size = units
        self.input_norm = self._norm("input_norm", center=False)
        self.recurrent_norm = self._norm("recurrent_norm", center=False)

    @property
    def state_size(self) -> list[int]:
        """Sizes of the state's tensors."""
        return [self.units]

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for inputs of this shape."""
        width = self.gates * self.units
        self.kernel = self.add_weight(
            shape=(inputs_shape[-1], width),
            initializer="glorot_uniform",
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            initializer="orthogonal",
            name="recurrent_kernel",
        )
        self.bias = self.add_weight(shape=(width,), initializer=self.first_bias, name="bias")
        self.input_norm.build((None, width))
        self.recurrent_norm.build((None, width))

    def first_bias(self, shape: tuple[int], dtype: str | None = None) -> Any:
        """Initializes the bias."""
        return ops.zeros(shape, dtype)

    def _norm(self, name: str, **options: Any) -> keras.layers.Layer:
        return keras.layers.LayerNormalization(name=name, dtype=self.dtype_policy, **options)

    def normalised_sums(self, inputs: Any, hidden: Any) -> tuple[Any, Any]:
        """Returns LN(Wx) + b and LN(Uh), float [batch, gates * units] each."""
        return (
            self.input_norm(ops.matmul(inputs, self.kernel)) + self.bias,
            self.recurrent_norm(ops.matmul(hidden, self.recurrent_kernel)),
        )


@keras.saving.register_keras_serializable(package="nlp_suite")
class LayerNormSimpleCell(LayerNormCell):
    """Elman's cell: h' = tanh(LN(Wx) + LN(Uh) + b)."""

    gates = 1

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        """Takes one step."""
        (hidden,) = states
        from_inputs, from_hidden = self.normalised_sums(inputs, hidden)
        hidden = ops.tanh(from_inputs + from_hidden)
        return hidden, [hidden]


@keras.saving.register_keras_serializable(package="nlp_suite")
class LayerNormGRUCell(LayerNormCell):
    """The gated recurrent unit, with the gates in Keras's order: update, reset, candidate."""

    gates = 3

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        """Takes one step."""
        (hidden,) = states
        from_inputs, from_hidden = self.normalised_sums(inputs, hidden)
        x_update, x_reset, x_candidate = ops.split(from_inputs, 3, axis=-1)
        h_update, h_reset, h_candidate = ops.split(from_hidden, 3, axis=-1)
        update = ops.sigmoid(x_update + h_update)
        reset = ops.sigmoid(x_reset + h_reset)
        candidate = ops.tanh(x_candidate + reset * h_candidate)
        hidden = update * hidden + (1 - update) * candidate
        return hidden, [hidden]


@keras.saving.register_keras_serializable(package="nlp_suite")
class LayerNormLSTMCell(LayerNormCell):
    """The LSTM, with the gates in Keras's order: input, forget, candidate, output.

    The carry is normalised too, on its way to the output.

    Args:
        units: Size of the state.
        unit_forget_bias: Whether the forget gate's bias starts at one (Jozefowicz et al. 2015,
            http://proceedings.mlr.press/v37/jozefowicz15.html), or at zero as the others.
    """

    gates = 4

    def __init__(self, units: int, *, unit_forget_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.unit_forget_bias = unit_forget_bias
        self.carry_norm = self._norm("carry_norm")

    @property
    def state_size(self) -> list[int]:
        """Sizes of the hidden state and the carry."""
        return [self.units, self.units]

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        """Makes the weights for inputs of this shape."""
        super().build(inputs_shape)
        self.carry_norm.build((None, self.units))

    def first_bias(self, shape: tuple[int], dtype: str | None = None) -> Any:
        """Initializes the bias: that of the forget gate apart from the others."""
        first = [0, int(self.unit_forget_bias), 0, 0]
        return ops.repeat(ops.convert_to_tensor(first, dtype), shape[0] // 4)

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        """Takes one step."""
        hidden, carry = states
        from_inputs, from_hidden = self.normalised_sums(inputs, hidden)
        enter, forget, candidate, leave = ops.split(from_inputs + from_hidden, 4, axis=-1)
        carry = ops.sigmoid(forget) * carry + ops.sigmoid(enter) * ops.tanh(candidate)
        hidden = ops.sigmoid(leave) * ops.tanh(self.carry_norm(carry))
        return hidden, [hidden, carry]


LAYER_NORM_CELLS = {
    "simple": LayerNormSimpleCell,
    "gru": LayerNormGRUCell,
    "lstm": LayerNormLSTMCell,
}

"""A loop over time steps for what no fused kernel computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

State = tuple[Any, ...]


def scan(
    step: Callable[[Any, State], tuple[Any, State]], inputs: Any, state: State
) -> tuple[Any, State]:
    """Takes one step after the other over a sequence, under every Keras backend.

    `keras.ops.scan` does not do: on TensorFlow what it emits must have the shapes of its state.

    Args:
        step: From the inputs of one time step, float [batch, features], and the state to the
            outputs, float [batch, units], and the next state.
        inputs: float [batch, time, features].
        state: The state to start from.

    Returns:
        Outputs of all steps, float [batch, time, units], and the final state.

    Example:
        >>> def add(inputs, state):
        ...     return state[0] + inputs, (state[0] + inputs,)
        >>> sums, _ = scan(add, keras.ops.ones((1, 3, 1)), (keras.ops.zeros((1, 1)),))
        >>> keras.ops.convert_to_numpy(sums).ravel().tolist()
        [1.0, 2.0, 3.0]
    """
    cell = _Cell(step, state)
    loop = keras.layers.RNN(
        cell, return_sequences=True, return_state=True, dtype=cell.compute_dtype
    )
    outputs, *state_list = loop(inputs, initial_state=list(state))
    return outputs, tuple(state_list)


class _Cell:
    """What `keras.layers.RNN` asks of a cell, around a function."""

    def __init__(self, step: Callable[[Any, State], tuple[Any, State]], state: State) -> None:
        self.step = step
        self.state_size = [part.shape[-1] for part in state]
        self.compute_dtype = keras.backend.standardize_dtype(state[0].dtype)

    def call(self, inputs: Any, states: State) -> tuple[Any, list[Any]]:
        outputs, states = self.step(inputs, tuple(states))
        return outputs, list(states)

    __call__ = call

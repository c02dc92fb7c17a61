"""Reading in both directions."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from nlp_suite.layers.base import MaskedLayer
from nlp_suite.layers.checks import check_choice
from nlp_suite.layers.rnn import rnn

MERGES = ("concat", "sum", "average", "multiply")


@keras.saving.register_keras_serializable(package="nlp_suite")
class BidirectionalRNN(MaskedLayer):
    """Reads right-padded sequences in both directions and merges the outputs of each time step.

    Args:
        cell: simple, gru or lstm.
        units: Size of each direction's state.
        merge: concat, sum, average or multiply.
        **kwargs: Further arguments of `rnn`.

    Raises:
        UserError: `merge` is none of these.
    """

    def __init__(self, cell: str, units: int, *, merge: str = "concat", **kwargs: Any) -> None:
        super().__init__(dtype=kwargs.get("dtype"))
        check_choice("merge", merge, MERGES, "concat")
        self.merge = merge
        self.forward = rnn(cell, units, parts=1, **kwargs)
        self.backward = rnn(cell, units, go_backwards=True, parts=1, **kwargs)

    def build(self, sequences_shape: tuple[int | None, ...]) -> None:
        """Builds both directions."""
        self.forward.build(sequences_shape)
        self.backward.build(sequences_shape)

    def call(
        self,
        sequences: Any,
        mask: Any = None,
        initial_state: Any = None,
        training: bool | None = None,
    ) -> tuple[Any, ...]:
        """Returns the merged outputs and the final states, forward before backward."""
        half = len(initial_state or ()) // 2
        ahead_start, back_start = (
            (initial_state[:half], initial_state[half:]) if initial_state else (None, None)
        )
        ahead, *ahead_state = self.forward(
            sequences, mask=mask, initial_state=ahead_start, training=training
        )
        back, *back_state = self.backward(
            sequences, mask=mask, initial_state=back_start, training=training
        )
        outputs = _merge(self.merge, ahead, ops.flip(back, axis=1))
        return outputs, *ahead_state, *back_state

    def compute_output_shape(self, sequences_shape: tuple[int | None, ...]) -> Any:
        """Returns the shapes of outputs and states."""
        outputs, *state = self.forward.compute_output_shape(sequences_shape)
        width = outputs[-1] * 2 if self.merge == "concat" else outputs[-1]
        return (*outputs[:-1], width), *state, *state


def _merge(merge: str, ahead: Any, back: Any) -> Any:
    """Makes one output of both directions'."""
    if merge == "concat":
        return ops.concatenate([ahead, back], axis=-1)
    if merge == "multiply":
        return ahead * back
    return (ahead + back) / 2 if merge == "average" else ahead + back

"""The one place where a recurrent layer is made: `rnn`, and the fused cuDNN kernel's on and off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from nlp_suite.layers.base import MaskedLayer, build_once
from nlp_suite.layers.cells import LAYER_NORM_CELLS
from nlp_suite.layers.checks import check_choice, check_share

PARTS = 2
"""Parts of a batch that a layer reads side by side in training, for two cores are all that can be
taken for granted."""


class FastOnCPU:
    """Lets a recurrent layer of Keras read by `cpu_recurrence` where that is faster.

    Attributes:
        kind: The cell's name there.
        use_cudnn: False keeps the layer off a GPU's kernels, so that its graph runs anywhere.
        parts: Parts of the batch that are read side by side in training.
    """

    kind: str
    use_cudnn: bool | str = "auto"
    parts = PARTS

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        """Computes last output, outputs and final state, as Keras's method of this name does."""
        if not _is_for_cpu_recurrence(self.use_cudnn):
            return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[misc]
        from nlp_suite.layers import cpu_recurrence

        cell = self.cell  # type: ignore[attr-defined]
        outputs, state = cpu_recurrence.read(
            self.kind,
            sequences,
            initial_state,
            mask,
            (cell.kernel, cell.recurrent_kernel, cell.bias),
            backwards=self.go_backwards,  # type: ignore[attr-defined]
            parts=self.parts if training else 1,
            training=training,
        )
        return state[0], outputs, list(state)


@keras.saving.register_keras_serializable(package="nlp_suite")
class SimpleRNN(FastOnCPU, keras.layers.SimpleRNN):
    """Keras's layer, faster on a CPU."""

    kind = "simple"


@keras.saving.register_keras_serializable(package="nlp_suite")
class GRU(FastOnCPU, keras.layers.GRU):
    """Keras's layer, faster on a CPU."""

    kind = "gru"


@keras.saving.register_keras_serializable(package="nlp_suite")
class LSTM(FastOnCPU, keras.layers.LSTM):
    """Keras's layer, faster on a CPU."""

    kind = "lstm"


CELLS = {"simple": SimpleRNN, "gru": GRU, "lstm": LSTM}


def _is_for_cpu_recurrence(use_cudnn: bool | str) -> bool:
    """Says whether `cpu_recurrence` is to read: under TensorFlow, where no GPU's kernels are."""
    if keras.backend.backend() != "tensorflow":
        return False
    from nlp_suite.layers import cpu_recurrence

    return not use_cudnn or cpu_recurrence.is_faster()


def rnn(
    cell: str,
    units: int,
    *,
    unit_forget_bias: bool = True,
    layer_norm: bool = False,
    weight_drop: float = 0.0,
    go_backwards: bool = False,
    parts: int = PARTS,
    **kwargs: Any,
) -> keras.layers.Layer:
    """Makes a recurrent layer that returns every output and its final state.

    LSTM and GRU run as one fused cuDNN kernel on a GPU, also with weight drop. Layer normalisation
    and the simple cell leave the fused kernel: a normalised recurrence is not in cuDNN's
    repertoire, and Keras offers no fused path for the simple cell. On a CPU, under TensorFlow, all
    but the normalised ones run by `cpu_recurrence`. Sequences are right-padded; outputs at padding
    have no meaning.

    Args:
        cell: simple (Elman 1990), gru (Cho et al. 2014, https://arxiv.org/abs/1406.1078) or lstm
            (Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735).
        units: Size of the state.
        unit_forget_bias: Start an LSTM's forget gate with a bias of one, so that it remembers from
            the first (Jozefowicz et al. 2015,
            http://proceedings.mlr.press/v37/jozefowicz15.html), or of zero.
        layer_norm: Normalise inside the cell (Ba et al. 2016, https://arxiv.org/abs/1607.06450).
        weight_drop: Share of recurrent weights dropped while training; see `WeightDrop`.
        go_backwards: Read the last time step first. The outputs come in the order of reading.
        parts: Parts of a batch that a CPU reads side by side in training; 1 for a layer that is
            read beside another one.
        **kwargs: Arguments of every Keras layer, such as `name` and `dtype`.

    Returns:
        A layer with the call `(sequences, mask=None, initial_state=None, training=None)` that
        returns `(outputs, *state)`, float [batch, time, units] and float [batch, units] each.

    Raises:
        UserError: `cell` is not one of the three.

    Example:
        >>> outputs, hidden, carry = rnn("lstm", 8)(ops.ones((2, 5, 3)))
        >>> [tuple(tensor.shape) for tensor in (outputs, hidden, carry)]
        [(2, 5, 8), (2, 8), (2, 8)]
    """
    check_choice("cell", cell, CELLS, "lstm")
    options = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    start = {"unit_forget_bias": unit_forget_bias} if cell == "lstm" else {}
    if layer_norm:
        step = LAYER_NORM_CELLS[cell](units, dtype=kwargs.get("dtype"), **start)
        layer = keras.layers.RNN(step, **options, **kwargs)
    else:
        layer = CELLS[cell](units, **start, **options, **kwargs)
        layer.parts = parts
    return WeightDrop(layer, weight_drop, dtype=layer.dtype_policy) if weight_drop else layer


@keras.saving.register_keras_serializable(package="nlp_suite")
class WeightDrop(MaskedLayer):
    """Drops entries of a layer's recurrent kernel while training: DropConnect for recurrences.

    One mask a batch, the same for all time steps. Because weights change and not states, the
    wrapped layer still runs as one fused cuDNN kernel, which `recurrent_dropout` does not.
    What is kept is scaled by 1 / (1 - rate), so nothing changes at inference.

    Source: Merity et al. 2017, https://arxiv.org/abs/1708.02182.

    Args:
        rnn: The Keras recurrent layer to regularise.
        rate: Share of the recurrent kernel's entries that is dropped.
        seed: Seeds the masks; their generator is saved with the weights, so a resumed run goes on.
    """

    def __init__(
        self, rnn: keras.layers.RNN, rate: float, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_share("weight_drop", rate)
        self.rnn = rnn
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def cell(self) -> keras.layers.Layer:
        """The wrapped layer's cell, for stepping."""
        return self.rnn.cell

    def build(self, sequences_shape: tuple[int | None, ...]) -> None:
        """Builds the wrapped layer for inputs of this shape."""
        build_once(self.rnn, sequences_shape)

    def compute_output_shape(self, sequences_shape: tuple[int | None, ...]) -> Any:
        """Returns the shapes of outputs and states."""
        return self.rnn.compute_output_shape(sequences_shape)

    def call(
        self,
        sequences: Any,
        mask: Any = None,
        initial_state: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Runs the wrapped layer, with a thinned recurrent kernel while training."""
        with self.dropped(training):
            return self.rnn(
                sequences, mask=mask, initial_state=initial_state, training=bool(training)
            )

    @contextmanager
    def dropped(self, training: bool | None) -> Iterator[None]:
        """Lets the cell see one thinned recurrent kernel for as long as the block runs."""
        if not training:
            yield
            return
        kernel = self.cell.recurrent_kernel
        # A decoder that is called step by step is not in Keras's scope that casts variables.
        cast = ops.cast(kernel, self.compute_dtype)
        thinned = keras.random.dropout(cast, self.rate, seed=self.seed_generator)
        # The instance dictionary is written to directly: `setattr` would make Keras track a tensor
        # of one trace as a part of the layer.
        vars(self.cell)["recurrent_kernel"] = thinned
        try:
            yield
        finally:
            vars(self.cell)["recurrent_kernel"] = kernel

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "rnn": keras.saving.serialize_keras_object(self.rnn),
            "rate": self.rate,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightDrop:
        """Makes the layer again from what `get_config` returned."""
        return cls(rnn=keras.saving.deserialize_keras_object(config.pop("rnn")), **config)


def disable_cudnn(model: keras.layers.Layer) -> None:
    """Keeps every recurrent layer in `model` off the fused cuDNN kernel from now on.

    Call it before tracing an export: a graph traced on a GPU machine holds the cuDNN kernel and
    fails on a machine without one (https://github.com/keras-team/keras/issues/18504).

    Args:
        model: A model or layer; recurrent layers are found at any depth.
    """
    for layer in model._flatten_layers():
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False

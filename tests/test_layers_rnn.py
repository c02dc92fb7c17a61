"""The recurrent layers: their arithmetic, their peers, and their place on the fused path."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import MASK, arrays, assert_close, random, randomize

from nlp_suite.errors import UserError
from nlp_suite.layers import BidirectionalRNN, RNNStack, disable_cudnn, rnn
from nlp_suite.layers.cells import LAYER_NORM_CELLS

CELLS = ("simple", "gru", "lstm")
STOCK = {"simple": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def with_constants(layer: Any, kernel: float, recurrent: float) -> Any:
    """Sets every input weight and every recurrent weight to one number, and biases to zero."""
    layer.build((None, None, 1))
    weights = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": 0.0}
    for weight in layer.weights:
        if weight.name in weights:
            weight.assign(np.full(weight.shape, weights[weight.name]))
    return layer


def test_two_steps_of_a_simple_cell_are_as_by_hand() -> None:
    layer = with_constants(rnn("simple", 2), kernel=0.5, recurrent=0.25)
    outputs, hidden = layer(np.array([[[1.0], [2.0]]]))
    # h1 = tanh(0.5 * 1)                             = tanh(0.5)      = 0.462117, both units alike
    # h2 = tanh(0.5 * 2 + 0.25 * (h1 + h1))          = tanh(1.231059) = 0.842886
    np.testing.assert_allclose(outputs[0], [[0.462117] * 2, [0.842886] * 2], atol=1e-6)
    np.testing.assert_allclose(hidden[0], [0.842886] * 2, atol=1e-6)


def test_two_steps_of_an_lstm_are_as_by_hand() -> None:
    layer = with_constants(rnn("lstm", 2), kernel=1.0, recurrent=0.5)
    outputs, hidden, carry = layer(np.array([[[1.0], [0.0]]]))
    # Step 1, z = 1 for all gates: sigmoid(1) = 0.731059, tanh(1) = 0.761594
    #   c = 0.731059 * 0.761594                      = 0.556770
    #   h = 0.731059 * tanh(0.556770)                = 0.731059 * 0.505577 = 0.369606
    # Step 2, z = 0.5 * (h + h) = 0.369606: sigmoid = 0.591364, tanh = 0.353647
    #   c = 0.591364 * 0.556770 + 0.591364 * 0.353647 = 0.538388
    #   h = 0.591364 * tanh(0.538388)                = 0.591364 * 0.491767 = 0.290813
    np.testing.assert_allclose(outputs[0, :, 0], [0.369606, 0.290813], atol=1e-6)
    np.testing.assert_allclose([hidden[0], carry[0]], [[0.290813] * 2, [0.538388] * 2], atol=1e-6)


def test_two_steps_of_a_gru_are_as_by_hand() -> None:
    layer = with_constants(rnn("gru", 2), kernel=1.0, recurrent=0.5)
    outputs, hidden = layer(np.array([[[1.0], [0.0]]]))
    # Step 1: update z = sigmoid(1) = 0.731059, candidate = tanh(1) = 0.761594
    #   h = (1 - 0.731059) * 0.761594                = 0.204824
    # Step 2, U h = 0.5 * (h + h) = 0.204824: z = r = sigmoid(0.204824) = 0.551028
    #   candidate = tanh(0.551028 * 0.204824)        = 0.112387
    #   h = 0.551028 * 0.204824 + (1 - 0.551028) * 0.112387 = 0.163322
    np.testing.assert_allclose(outputs[0, :, 0], [0.204824, 0.163322], atol=1e-6)
    np.testing.assert_allclose(hidden[0], [0.163322] * 2, atol=1e-6)


def test_one_step_of_a_layer_normalised_lstm_is_as_by_hand() -> None:
    layer = rnn("lstm", 2, layer_norm=True)
    layer.build((None, None, 1))
    # Wx = 100, 300 for the two units of each gate: mean 200, deviation 100, so LN(Wx) = -1, 1.
    layer.cell.kernel.assign([[100.0, 300.0] * 4])
    layer.cell.bias.assign(np.zeros(8))
    _, hidden, carry = layer(np.array([[[1.0]]]))
    # U h = 0, and LN(0) = 0.
    # c = sigmoid(-1) tanh(-1), sigmoid(1) tanh(1)   = -0.204824, 0.556770
    # LN(c): mean 0.175973, deviation 0.380797; with the 0.001 that keeps it from 0 / 0 it is
    #   -+ 0.380797 / sqrt(0.380797**2 + 0.001)      = -+ 0.996570
    # h = sigmoid(-1) tanh(-0.996570), sigmoid(1) tanh(0.996570) = -0.204436, 0.555714
    np.testing.assert_allclose(carry[0], [-0.204824, 0.556770], atol=1e-6)
    np.testing.assert_allclose(hidden[0], [-0.204436, 0.555714], atol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("is_open", [False, True])
def test_forget_gates_start_as_asked(layer_norm: bool, is_open: bool) -> None:
    stack = RNNStack("lstm", 2, bidirectional=True, layer_norm=layer_norm, unit_forget_bias=is_open)
    stack.build((None, None, 3))
    (layer,) = stack.layers
    for direction in (layer.forward, layer.backward):
        np.testing.assert_array_equal(direction.cell.bias, [0, 0, is_open, is_open, 0, 0, 0, 0])


def test_layer_norm_makes_a_cell_blind_to_the_scale_of_its_inputs() -> None:
    inputs = random(2, 4, 3)
    for cell in CELLS:
        layer = rnn(cell, 6, layer_norm=True)
        layer.build(inputs.shape)
        layer.cell.kernel.assign(10 * layer.cell.kernel)
        assert_close(layer(inputs)[0], layer(100 * inputs)[0], 2e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_layer_normalised_cells_follow_the_equations_of_the_paper(cell: str) -> None:
    step = LAYER_NORM_CELLS[cell](4)
    state = [random(2, 4, seed=s) for s in (1, 2)][: len(step.state_size)]
    inputs = random(2, 3)
    step(inputs, state)
    randomize(step)
    expected = _layer_normalised(cell, {w.path.split("/", 1)[1]: w for w in step.weights})
    assert_close(step(inputs, state), expected(inputs, *state), 1e-5)


def _layer_normalised(cell: str, weights: dict[str, Any]) -> Any:
    """Writes the cells once more, in NumPy, a gate at a time."""
    w = arrays(weights)

    def norm(x: Any, name: str) -> Any:
        spread = np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        scaled = w[f"{name}/gamma"] * (x - x.mean(-1, keepdims=True)) / spread
        return scaled + w.get(f"{name}/beta", 0)

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    def gates(x: Any, h: Any, count: int) -> tuple[Any, Any]:
        sums = norm(x @ w["kernel"], "input_norm") + w["bias"]
        recurrent = norm(h @ w["recurrent_kernel"], "recurrent_norm")
        return np.split(sums, count, -1), np.split(recurrent, count, -1)

    def simple(x: Any, h: Any) -> Any:
        (a,), (b,) = gates(x, h, 1)
        h = np.tanh(a + b)
        return h, [h]

    def gru(x: Any, h: Any) -> Any:
        a, b = gates(x, h, 3)
        z, r = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
        h = z * h + (1 - z) * np.tanh(a[2] + r * b[2])
        return h, [h]

    def lstm(x: Any, h: Any, c: Any) -> Any:
        i, f, g, o = (a + b for a, b in zip(*gates(x, h, 4), strict=True))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c, "carry_norm"))
        return h, [h, c]

    return {"simple": simple, "gru": gru, "lstm": lstm}[cell]


@pytest.mark.parametrize("cell", CELLS)
def test_a_bidirectional_stack_agrees_with_stock_keras(cell: str) -> None:
    inputs = random(4, 4, 3)
    ours = RNNStack(cell, 6, bidirectional=True)
    ours(inputs)
    randomize(ours)
    stock = keras.layers.Bidirectional(STOCK[cell](6, return_sequences=True, return_state=True))
    stock(inputs)
    stock.set_weights(ours.get_weights())
    rows = [0, 1, 3]  # Keras leaves open what a row of padding alone gives.
    outputs, state = ours(inputs, mask=MASK)
    expected, *expected_state = stock(inputs, mask=keras.ops.convert_to_tensor(MASK))
    assert_close(arrays(outputs)[MASK], arrays(expected)[MASK], 1e-5)
    assert_close([s[rows] for s in arrays(state)], [s[rows] for s in arrays(expected_state)], 1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_begin_with_zeros_where_no_state_is_given(cell: str) -> None:
    layer, inputs = BidirectionalRNN(cell, 4), random(4, 4, 3)
    outputs = layer(inputs, mask=MASK)
    zeros = [np.zeros([4, 4], "float32")] * (4 if cell == "lstm" else 2)
    assert len(outputs) == 1 + len(zeros)
    assert_close(outputs, layer(inputs, mask=MASK, initial_state=zeros), 0)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_stack_agrees_with_pytorch_on_copied_weights(cell: str, bidirectional: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra `torch`")
    inputs, units = random(3, 5, 4), 6
    stack = RNNStack(cell, units, depth=2, bidirectional=bidirectional)
    stack(inputs)
    randomize(stack)
    peer = {"simple": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](
        4, units, num_layers=2, batch_first=True, bidirectional=bidirectional
    )
    _copy_weights(stack, peer, torch)
    lengths = torch.tensor([5, 3, 1])
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(inputs), lengths, True)
    packed_outputs, peer_state = peer(packed)
    peer_outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_outputs, batch_first=True)
    outputs, state = stack(inputs, mask=np.arange(5) < lengths.numpy()[:, None])
    assert_close(outputs, peer_outputs.detach().numpy(), 1e-5)
    # PyTorch keeps all hidden states together and then all carries; ours go layer by layer.
    parts = [part.detach().numpy() for part in (peer_state if cell == "lstm" else (peer_state,))]
    in_our_order = [part[place] for place in range(len(parts[0])) for part in parts]
    assert_close(state, tuple(in_our_order), 1e-5)


def _copy_weights(stack: RNNStack, peer: Any, torch: Any) -> None:
    """Gives PyTorch our weights; its GRU has the reset gate before the update gate."""
    cells = []
    for layer in stack.layers:
        both = (layer.forward, layer.backward) if hasattr(layer, "forward") else (layer,)
        cells += [direction.cell for direction in both]
    names = [name.removeprefix("weight_ih_") for name, _ in peer.named_parameters()]
    names = [name for name in names if name.startswith("l")]
    for cell, name in zip(cells, names, strict=True):
        biases = arrays(cell.bias)
        if biases.ndim == 1:
            biases = np.stack([biases, np.zeros_like(biases)])
        copied = {
            f"weight_ih_{name}": arrays(cell.kernel).T,
            f"weight_hh_{name}": arrays(cell.recurrent_kernel).T,
            f"bias_ih_{name}": biases[0],
            f"bias_hh_{name}": biases[1],
        }
        for parameter, value in copied.items():
            if isinstance(peer, torch.nn.GRU):
                update, reset, candidate = np.split(value, 3)
                value = np.concatenate([reset, update, candidate])
            getattr(peer, parameter).data = torch.tensor(value.astype("float32"))


def test_an_unknown_cell_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"`cell` must be one of simple, gru, lstm. .* cell=tree"):
        rnn("tree", 4)


# The fused path. Machines without a GPU cannot run it, so its conditions are tested.


@pytest.mark.parametrize("weight_drop", [0.0, 0.5])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gru_and_lstm_fulfil_what_cudnn_asks_for(cell: str, weight_drop: float) -> None:
    layer = rnn(cell, 4, weight_drop=weight_drop)
    fused = getattr(layer, "rnn", layer)
    assert isinstance(fused, STOCK[cell])
    assert fused.use_cudnn == "auto"
    assert fused.activation is keras.activations.tanh
    assert fused.recurrent_activation is keras.activations.sigmoid
    assert fused.use_bias
    assert not fused.unroll
    assert fused.recurrent_dropout == 0
    assert cell == "lstm" or fused.reset_after


@pytest.mark.parametrize("options", [{}, {"weight_drop": 0.5, "dropout": 0.5, "variational": True}])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_gpu_would_get_one_fused_kernel_for_each_direction(
    cell: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = _fused_kernels(RNNStack(cell, 4, 2, bidirectional=True, **options), monkeypatch)
    assert kernels == 4


@pytest.mark.parametrize(("cell", "options"), [("simple", {}), ("lstm", {"layer_norm": True})])
def test_simple_and_normalised_cells_leave_the_fused_path(
    cell: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _fused_kernels(RNNStack(cell, 4, **options), monkeypatch) == 0


def test_disabling_cudnn_keeps_every_layer_off_the_fused_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = RNNStack("lstm", 4, 2, bidirectional=True, forward_layers=1, weight_drop=0.5)
    disable_cudnn(stack)
    assert _fused_kernels(stack, monkeypatch) == 0


def _fused_kernels(stack: RNNStack, monkeypatch: pytest.MonkeyPatch) -> int:
    """Counts the cuDNN kernels in the training graph that a machine with a GPU would trace."""
    tf = pytest.importorskip("tensorflow", reason="the graphs are TensorFlow's")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the graphs are TensorFlow's")
    backend = sys.modules["keras.src.backend.tensorflow.rnn"]
    monkeypatch.setattr(backend, "_is_gpu_available", lambda: True)
    monkeypatch.setattr("nlp_suite.layers.cpu_recurrence.is_faster", lambda: False)
    stack.build((None, None, 3))

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 3]), tf.TensorSpec([None, None], tf.bool)]
    )
    def train(inputs: Any, mask: Any) -> Any:
        return stack(inputs, mask=mask, training=True)

    return sum(
        op.type == "CudnnRNNV3" for op in train.get_concrete_function().graph.get_operations()
    )


def test_cudnn_gets_no_row_that_is_all_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = RNNStack("lstm", 4)
    stack.build((None, None, 3))
    layer, seen = stack.layers[0], []
    call = layer.call

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["mask"])
        return call(*args, **kwargs)

    monkeypatch.setattr(layer, "call", spy)
    stack(random(4, 4, 3), mask=MASK)
    first_steps = arrays(seen[0])[:, 0]
    assert first_steps.tolist() == [1, 1, 1, 1]

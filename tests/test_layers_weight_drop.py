"""Weight drop: one thinned kernel a batch, in training alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import arrays, assert_close, gradients, random

from nlp_suite.errors import UserError
from nlp_suite.layers import WeightDrop, rnn

CELLS = ("simple", "gru", "lstm")


def test_weight_drop_thins_the_kernel_in_training_and_scales_what_it_keeps() -> None:
    layer = rnn("lstm", 8, weight_drop=0.25)
    layer.build((None, None, 3))
    kernel = arrays(layer.cell.recurrent_kernel)
    with layer.dropped(training=True):
        thinned = arrays(layer.cell.recurrent_kernel)
    dropped = thinned == 0
    assert 0.1 < dropped.mean() < 0.4
    np.testing.assert_allclose(thinned[~dropped], kernel[~dropped] / 0.75, rtol=1e-5)
    assert_close(layer.cell.recurrent_kernel, kernel, 0)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_weight_drop_changes_nothing_at_inference(cell: str, layer_norm: bool) -> None:
    inputs = random(2, 4, 3)
    layer = rnn(cell, 5, weight_drop=0.5, layer_norm=layer_norm)
    plain = rnn(cell, 5, layer_norm=layer_norm)
    layer(inputs), plain(inputs)
    plain.set_weights(layer.rnn.get_weights())
    assert_close(layer(inputs, training=False), plain(inputs), 0)
    assert np.abs(arrays(layer(inputs, training=True)[0]) - arrays(plain(inputs)[0])).max() > 1e-3


def test_weight_drop_draws_a_new_mask_for_each_batch_and_the_same_after_a_resume() -> None:
    inputs = random(2, 4, 3)
    layer = WeightDrop(rnn("gru", 8), 0.5, seed=3)
    layer(inputs)
    before = arrays(layer.seed_generator.state)
    first, second = (arrays(layer(inputs, training=True)[0]) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    layer.seed_generator.state.assign(before)
    assert_close(layer(inputs, training=True)[0], first, 0)


def test_dropped_weights_get_no_gradient_and_kept_ones_a_scaled_one() -> None:
    inputs = random(2, 1, 3)
    state = [random(2, 4, seed=2)]
    layer = WeightDrop(rnn("simple", 4), 0.5, seed=1)
    layer(inputs)
    seed = arrays(layer.seed_generator.state)

    def loss() -> Any:
        layer.seed_generator.state.assign(seed)
        outputs, _ = layer(inputs, initial_state=state, training=True)
        return keras.ops.sum(outputs)

    with layer.dropped(training=True):
        kept = arrays(layer.cell.recurrent_kernel) != 0
    (gradient,) = gradients(loss, [layer.cell.recurrent_kernel])
    # d sum(h') / d U[i, j] = sum over rows of h[i] * (1 - h'[j]**2), doubled where U is kept.
    layer.seed_generator.state.assign(seed)
    outputs = arrays(layer(inputs, initial_state=state, training=True)[0])[:, 0]
    expected = np.where(kept, 2 * state[0].T @ (1 - outputs**2), 0)
    assert 0 < kept.sum() < kept.size
    assert_close(gradient, expected, 1e-5)


def test_the_kernel_comes_back_when_a_call_fails() -> None:
    layer = rnn("lstm", 4, weight_drop=0.5)
    layer.build((None, None, 3))
    kernel = layer.cell.recurrent_kernel
    with pytest.raises(RuntimeError, match="in the middle"), layer.dropped(training=True):
        raise RuntimeError("in the middle")
    assert layer.cell.recurrent_kernel is kernel


def test_a_rate_of_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"`weight_drop` must be from 0 .* weight_drop=1"):
        rnn("lstm", 4, weight_drop=1.0)

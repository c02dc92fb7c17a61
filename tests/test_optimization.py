from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from nlp_suite.config import Config
from nlp_suite.errors import UserError
from nlp_suite.optimization import FusedAdam, WeightAverage, make_optimizer, make_schedule
from nlp_suite.progress import Progress


def rates(steps: int, *at: int, **settings: Any) -> list[float]:
    rate = make_schedule(Config(learning_rate=1.0, **settings), steps)
    return [rate(step) for step in at]


def test_a_constant_rate_warms_up_in_a_line() -> None:
    assert rates(9, 0, 1, 3, 4, 8, schedule="constant", warmup_steps=4) == [0.25, 0.5, 1, 1, 1]


def test_a_run_with_a_limit_of_time_warms_up_by_its_updates_and_then_goes_by_the_time() -> None:
    """Half of the minute is over."""
    config = Config(max_minutes=1, warmup_steps=10)
    at = [
        Progress(data="", examples=0, updates=updates, seconds=30).position(config, 100)
        for updates in (0, 3, 9, 10, 70)
    ]
    assert at == [0, 3, 9, 50, 70]


def test_a_schedule_that_rises_by_itself_goes_by_the_time_from_the_beginning() -> None:
    progress = Progress(data="", examples=0, updates=3, seconds=30)
    config = Config(max_minutes=1, warmup_steps=10, schedule="one_cycle")
    assert progress.position(config, 100) == 50


def test_inverse_sqrt_halves_when_the_steps_are_four_times_as_many() -> None:
    assert rates(99, 4, 16, 64, schedule="inverse_sqrt", warmup_steps=4) == [1, 0.5, 0.25]


def test_one_cycle_begins_low_peaks_after_three_tenths_and_ends_at_almost_nothing() -> None:
    at = rates(100, 0, 30, 100, schedule="one_cycle")
    assert at == pytest.approx([0.04, 1.0, 1e-5])


def test_slanted_triangular_rises_a_tenth_and_falls_to_a_thirty_second() -> None:
    at = rates(100, 0, 5, 10, 55, 100, schedule="slanted_triangular")
    assert at == pytest.approx([1 / 32, (1 + 15.5) / 32, 1, (1 + 15.5) / 32, 1 / 32])


def test_an_unknown_optimizer_or_schedule_is_refused_with_the_choices() -> None:
    with pytest.raises(UserError, match="must be one of adam, adamw, sgd"):
        make_optimizer(Config(optimizer="rmsprop"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="must be one of constant"):
        make_schedule(Config(schedule="sine"), 10)  # type: ignore[arg-type]


def test_a_decay_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="`weight_decay` must be 0 with adam"):
        make_optimizer(Config(weight_decay=0.1))
    with pytest.raises(UserError, match="above 0 with adamw"):
        make_optimizer(Config(optimizer="adamw"))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_fused_adam_takes_the_steps_of_keras(decay: float) -> None:
    start = np.random.default_rng(0).normal(size=[3, 4]).astype(np.float32)
    weights = [keras.Variable(start), keras.Variable(start)]
    config = Config(learning_rate=0.1, optimizer="adamw" if decay else "adam", weight_decay=decay)
    ours = make_optimizer(config)
    assert isinstance(ours, FusedAdam)
    theirs = keras.optimizers.Adam(0.1, weight_decay=decay or None)
    for step in range(5):
        gradient = tf.constant(np.random.default_rng(step).normal(size=[3, 4]), tf.float32)
        ours.apply([gradient], weights[:1])
        theirs.apply([gradient], weights[1:])
    # The operation has 1 - beta in float32, Keras in float64: 5e-5 of a step.
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-5)
    assert np.abs(weights[0].numpy() - start).max() > 0.1


def test_biases_do_not_decay() -> None:
    kernel, bias = keras.Variable(1.0, name="kernel"), keras.Variable(1.0, name="bias")
    optimizer = make_optimizer(Config(optimizer="adamw", weight_decay=0.5, learning_rate=1.0))
    optimizer.apply([tf.constant(0.0), tf.constant(0.0)], [kernel, bias])
    assert (float(kernel.numpy()), float(bias.numpy())) == (0.5, 1.0)


def test_a_weight_that_was_frozen_takes_its_first_step_at_the_rate() -> None:
    """Under a steady gradient each step of Adam is the rate, the first of a weight as well."""
    early, late = keras.Variable(0.0), keras.Variable(0.0)
    optimizer = make_optimizer(Config(learning_rate=0.01))
    assert isinstance(optimizer, FusedAdam)
    optimizer.build([early, late])
    one = tf.constant(1.0)
    for _ in range(100):
        optimizer.apply([one], [early])
    optimizer.begin_with([late])
    optimizer.apply([one, one], [early, late])
    assert float(early.numpy()) == pytest.approx(-1.01, rel=1e-3)
    assert float(late.numpy()) == pytest.approx(-0.01, rel=1e-3)


def test_weights_decay_at_their_own_rate() -> None:
    low, high = keras.Variable(1.0, name="low"), keras.Variable(1.0, name="high")
    optimizer: Any = make_optimizer(Config(optimizer="adamw", weight_decay=0.5, learning_rate=1.0))
    optimizer.build([low, high])
    optimizer.set_scales({low.path: 0.1})
    optimizer.apply([tf.constant(0.0), tf.constant(0.0)], [low, high])
    assert [float(weight.numpy()) for weight in (low, high)] == pytest.approx([0.95, 0.5])


@pytest.mark.parametrize("name", ["adam", "sgd", "adafactor", "nt_asgd"])
def test_every_optimizer_goes_downhill(name: Any) -> None:
    weight = keras.Variable(np.full([2, 2], 3.0, np.float32))
    optimizer = make_optimizer(Config(optimizer=name, learning_rate=0.1))
    for _ in range(3):
        optimizer.apply([2 * weight.value], [weight])
    assert np.all(weight.numpy() < 3.0)


def follow(average: WeightAverage, weight: keras.Variable, values: list[float]) -> list[float]:
    averages = []
    for value in values:
        weight.assign(value)
        average.update()
        averages.append(float(average.averages[0].numpy()))
    return averages


def test_a_mean_of_weights_follows_them_until_it_is_started() -> None:
    weight = keras.Variable(0.0)
    average = WeightAverage([weight], decay=None)
    assert follow(average, weight, [5.0, 7.0]) == [5.0, 7.0]
    average.start()
    assert follow(average, weight, [1.0, 3.0, 8.0]) == [1.0, 2.0, 4.0]


def test_an_exponential_average_forgets_its_beginning_sooner_while_young() -> None:
    weight = keras.Variable(0.0)
    average = WeightAverage([weight], decay=0.9)
    # It follows the weights to the eighth update and looks at every eighth from there. The old
    # average keeps (1 + n) / (10 + n), 2/11 and 3/12 at first, and at most 0.9 ** 8 = 0.43046721.
    averages = follow(average, weight, [3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0] + [11.0] * 9)
    assert averages == pytest.approx([3.0] + [0.0] * 6 + [9.0] * 8 + [10.5])
    follow(average, weight, [11.0] * 800)
    assert follow(average, weight, [21.0] * 8)[-1] == pytest.approx(21.0 - 10 * 0.43046721)


def test_the_average_stands_in_for_the_weights_and_gives_them_back() -> None:
    weight = keras.Variable(0.0)
    average = WeightAverage([weight], decay=None)
    average.start()
    follow(average, weight, [1.0, 3.0])
    with average.applied():
        assert float(weight.numpy()) == 2.0
    assert float(weight.numpy()) == 3.0

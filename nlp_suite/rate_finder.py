"""Finding a learning rate by trying them all, from far too small to far too large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from nlp_suite import devices
from nlp_suite.batch_size import batch_size_of
from nlp_suite.encoding import encode_splits
from nlp_suite.feed import make_feeds
from nlp_suite.files import sweep
from nlp_suite.plots import learning_rates
from nlp_suite.runs import learn_tokenizers
from nlp_suite.step import Learner
from nlp_suite.task import Task
from nlp_suite.transfer import build_network

LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.95
"""Share of the old mean kept at each step."""
HOPELESS = 4
"""Times the least loss at which the search ends."""
TELLING_FALL = 0.02
"""Share of the first loss by which it has to fall, or the place of its least value is luck."""


@dataclass(frozen=True)
class RateTrial:
    """What was tried.

    Attributes:
        rates: The learning rate of each step.
        losses: The loss of each step, smoothed.
    """

    rates: list[float]
    losses: list[float]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate that led to the least loss: the loss still falls there, and safely.

        Example:
            >>> RateTrial([0.001, 0.01, 0.1, 1.0], [3.0, 2.5, 2.0, 9.0]).suggestion
            0.01
        """
        return self.rates[self.losses.index(min(self.losses))] / 10

    @property
    def fall(self) -> float:
        """By which share of itself the loss fell at most; below `TELLING_FALL` it tells nothing.

        Example:
            >>> RateTrial([0.001, 0.01, 0.1], [4.0, 3.0, 9.0]).fall
            0.25
        """
        return 1 - min(self.losses) / self.losses[0]


def find_rate(task: Task[Any], folder: Path, steps: int = 200) -> RateTrial:
    """Trains with a rate that grows from step to step, and watches the loss.

    The range test of Smith 2017 (arXiv:1506.01186).

    Args:
        task: The task with its settings; nothing of what it learns is kept.
        folder: Where the plot goes, `learning_rates.png`.
        steps: Steps in which the rate grows from 1e-6 to 1.

    Returns:
        Rates and losses, up to where the loss had multiplied.
    """
    chosen = devices.configure(task.config)
    learn_tokenizers(task)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)  # of what a call that was killed has left
    with TemporaryDirectory(prefix=".encoded.", dir=folder) as workspace:
        trial = _trial(task, chosen, Path(workspace) / "encoded", steps)
    learning_rates(trial.rates, trial.losses, trial.suggestion, folder / "learning_rates.png")
    return trial


def _trial(task: Task[Any], chosen: devices.Devices, folder: Path, steps: int) -> RateTrial:
    """Encodes the examples into a folder, and trains on them."""
    splits = encode_splits(task, folder)
    size = batch_size_of(task, splits, chosen)
    keras.utils.set_random_seed(task.config.seed)
    with chosen.scope():
        network = build_network(task)
        feed = make_feeds(task, splits, size).train
        learner = Learner(task, network, task.config, feed.streams)
        learner.begin(0)
        growth = _Growth(steps)
        learner.fit(
            feed.dataset(0).repeat(),
            steps_per_epoch=steps,
            callbacks=[growth],
            shuffle=False,
            verbose=0,
        )
    return RateTrial(growth.rates, growth.losses)


class _Growth(keras.callbacks.Callback):
    """Raises the rate by the same factor after each step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.mean = 0.0
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del logs
        rate = LOWEST * (HIGHEST / LOWEST) ** (batch / max(1, self.steps - 1))
        self.model.optimizer.learning_rate = rate
        self.model.reset_metrics()
        self.rates.append(rate)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = float((logs or {})["loss"])
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        # The mean began at 0, and is corrected for it as Adam corrects its moments.
        smoothed = self.mean / (1 - SMOOTHING ** (batch + 1))
        self.losses.append(smoothed if math.isfinite(smoothed) else math.inf)
        if not self.losses[-1] <= HOPELESS * min(self.losses):
            self.model.stop_training = True

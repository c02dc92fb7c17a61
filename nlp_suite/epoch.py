"""An epoch under way: what is done and looked at between its steps."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras

from nlp_suite.interrupts import Interrupts

if TYPE_CHECKING:
    from nlp_suite.training import Loop

SETTLED = 20
"""Steps of an epoch after which its mean loss is taken to say something."""
FAR_ABOVE = 3
"""Times the loss of the untrained network at which a run is given up as diverging."""


class Diverged(Exception):  # noqa: N818 - an event that the loop deals with, not an error
    """The loss is no number any more, or far above that of the untrained network."""


class Epoch(keras.callbacks.Callback):
    """What a loop does at each step of an epoch.

    Args:
        loop: The run under way.
        interrupts: Whether it has been asked to stop.
    """

    def __init__(self, loop: Loop, interrupts: Interrupts) -> None:
        super().__init__()
        self.loop = loop
        self.interrupts = interrupts
        feed, number = loop.feeds.train, loop.progress.epoch
        self.first = loop.progress.step
        self.count = feed.steps(number)
        real, padded = feed.tokens(number)
        self.tokens, self.padding = real / self.count, 1 - real / padded
        self.began = time.monotonic()
        self.logs: dict[str, Any] = {}

    def metrics(self) -> dict[str, float]:
        """Gives the means over the epoch so far."""
        means = {name: float(value) for name, value in self.logs.items()}
        return {**means, "tokens_per_second": round(self._speed() * self.tokens)}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate of the step."""
        del batch, logs
        loop, progress = self.loop, self.loop.progress
        scale = loop.feeds.train.rate_scale(progress.epoch, progress.step)
        self.model.optimizer.learning_rate = loop.rate() * scale

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the step, looks how it went, and saves or stops if it is time to."""
        del batch
        loop, progress = self.loop, self.loop.progress
        self.logs = logs or {}
        progress.step += 1
        progress.updates += 1
        self._check(float(self.logs["loss"]))
        self.interrupts.share(loop.cluster)
        if loop.config.max_minutes:
            loop.tick()
        if progress.share_of_time(loop.config) >= 1:
            self.model.stop_training = True
        elif progress.step < self.count and self._is_time_to_save():
            loop.save(loop.learner.state())
        if progress.step < self.count and not self.model.stop_training:
            self.interrupts.obey()  # else once the epoch is validated and saved

    def _check(self, loss: float) -> None:
        """Looks whether the run goes well, and shows where it is."""
        loop, progress = self.loop, self.loop.progress
        progress.initial_loss = progress.initial_loss or loss
        if not math.isfinite(loss):
            raise Diverged("the loss is not a number")
        if progress.step >= SETTLED and loss > FAR_ABOVE * progress.initial_loss:
            raise Diverged(f"the loss, {loss:.3g}, is far above that of the untrained network")
        left = (self.count - progress.step) / self._speed()
        loop.watch.step(progress, loss, self._speed() * self.tokens, self.padding, left)

    def _is_time_to_save(self) -> bool:
        loop = self.loop
        passed = loop.clock - loop.saved_at
        return self.interrupts.came or passed >= 60 * loop.config.checkpoint_minutes

    def _speed(self) -> float:
        """Steps a second in this epoch, without the first, which traces the graph."""
        done = self.loop.progress.step - self.first
        if done == 1:
            self.traced = time.monotonic()
            return 1 / (self.traced - self.began)
        return (done - 1) / (time.monotonic() - self.traced)

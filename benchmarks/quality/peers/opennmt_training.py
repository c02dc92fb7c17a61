"""Trains an OpenNMT-py model for so many minutes, in OpenNMT-py's own environment.

python benchmarks/quality/peers/opennmt_training.py MINUTES -config FILE
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from onmt.bin.train import main  # type: ignore[import-not-found]
from onmt.trainer import Trainer  # type: ignore[import-not-found]
from onmt.utils.optimizers import Optimizer  # type: ignore[import-not-found]

WARMUP_STEPS = 200
"""Steps in which the rate rises, as in the suite."""


class Clock:
    """The time that a training has, from its first batch on, before which the data is read.

    Args:
        seconds: How much there is.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = math.inf

    @property
    def share(self) -> float:
        """How much of it is used up, from 0 to 1."""
        return min(1.0, max(0.0, time.monotonic() - self.began) / self.seconds)

    def until_the_end(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Passes batches on while there is time."""
        for batch in batches:
            self.began = min(self.began, time.monotonic())
            if self.share >= 1:
                return
            yield batch


def go_by(clock: Clock) -> None:
    """Ends every training, as if the data did, when the time is up.

    By then the rate has fallen to nothing along half a cosine, as the suite's does: OpenNMT-py's
    own schedules know steps alone, and would be cut short in the middle.
    """
    train = Trainer.train

    def train_for_a_time(trainer: Any, batches: Iterable[Any], *others: Any, **named: Any) -> Any:
        return train(trainer, clock.until_the_end(batches), *others, **named)

    def learning_rate(optimizer: Any) -> float:
        rise = min(1.0, optimizer.training_step / WARMUP_STEPS)
        peak: float = optimizer._learning_rate
        return peak * rise * (1 + math.cos(math.pi * clock.share)) / 2

    Trainer.train = train_for_a_time
    Optimizer.learning_rate = learning_rate


if __name__ == "__main__":
    go_by(Clock(60 * float(sys.argv.pop(1))))
    main()

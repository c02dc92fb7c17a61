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


def limit(minutes: float) -> None:
    """Lets every training end, as if the data did, when the time is up."""
    train = Trainer.train

    def train_for_minutes(trainer: Any, batches: Iterable[Any], *others: Any, **named: Any) -> Any:
        return train(trainer, until(60 * minutes, batches), *others, **named)

    Trainer.train = train_for_minutes


def until(seconds: float, batches: Iterable[Any]) -> Iterator[Any]:
    """Passes batches on for so many seconds after the first, before which the data is read."""
    end = math.inf
    for batch in batches:
        now = time.monotonic()
        if now >= end:
            return
        end = min(end, now + seconds)
        yield batch


if __name__ == "__main__":
    limit(float(sys.argv.pop(1)))
    main()

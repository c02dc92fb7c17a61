"""The time that `fit` spends on its steps."""

from __future__ import annotations

import time
from typing import Any

import keras


class Stopwatch(keras.callbacks.Callback):
    """Takes the time from the begin of the first step to the end of the last.

    Attributes:
        seconds: The time so far.
        loss: What `fit` reports as the loss.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = self.loss = 0.0
        self._began = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts with the first step, when the data set has been opened."""
        del logs
        if not batch:
            self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss, which waits for the step to end."""
        del batch
        self.loss = float(logs["loss"])
        self.seconds = time.perf_counter() - self._began

"""The time that `fit` spends on its steps."""

from __future__ import annotations

import time
from typing import Any

import keras


class Stopwatch(keras.callbacks.Callback):
    """Takes the time from the begin of the first step to the end of the last.

    Attributes:
        seconds: The time so far.
        processor_seconds: What the cores together worked in it.
        loss: What `fit` reports as the loss.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = self.processor_seconds = self.loss = 0.0
        self._began = self._processor_began = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Starts with the first step, when the data set has been opened."""
        del logs
        if not batch:
            self._began, self._processor_began = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss, which waits for the step to end."""
        del batch
        self.loss = float(logs["loss"])
        self.seconds = time.perf_counter() - self._began
        self.processor_seconds = time.process_time() - self._processor_began

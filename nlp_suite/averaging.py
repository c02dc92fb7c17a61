"""Averaging the weights of several epochs, which often predicts better than any one of them.

The last ones, as Vaswani et al. 2017 (arXiv:1706.03762, section 6.1) did, or the best ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from nlp_suite.config import Config
from nlp_suite.runs import save_weights


class EpochWeights:
    """The weights of the epochs that are to be averaged when a run ends, kept in its folder.

    Which epochs they are follows from the history alone, so that a run that goes on from an earlier
    checkpoint writes the same again.

    Args:
        folder: Where they are kept, a file an epoch.
        config: `average_checkpoints` and `average_of`.
        monitor: The validation metric that says which epochs are the best.
        higher_is_better: Whether more of it is better.
    """

    def __init__(
        self, folder: Path, config: Config, monitor: str, *, higher_is_better: bool
    ) -> None:
        self.folder = folder
        self.config = config
        self.monitor = monitor
        self.sign = 1 if higher_is_better else -1

    def keep(self, network: keras.Model, epoch: float) -> None:
        """Writes the weights of an epoch."""
        if self.config.average_checkpoints:
            save_weights(network, self._path(epoch))

    def chosen(self, history: Sequence[Mapping[str, float]]) -> list[float]:
        """Says which epochs count: the last or the best of those that were validated."""
        rows = list(history)
        if self.config.average_of == "best":
            rows.sort(key=lambda row: (self.sign * row[f"val_{self.monitor}"], -row["val_loss"]))
        return sorted(row["epoch"] for row in rows[::-1][: self.config.average_checkpoints])

    def prune(self, history: Sequence[Mapping[str, float]]) -> None:
        """Removes the weights of all other epochs."""
        kept = {self._path(epoch) for epoch in self.chosen(history)}
        for path in self.folder.glob("*.weights.h5"):
            if path not in kept:
                path.unlink()

    def average(self, network: keras.Model, epochs: Sequence[float]) -> None:
        """Gives a network the mean of its weights after some epochs."""
        sums = [np.zeros(weight.shape) for weight in network.weights]
        for epoch in epochs:
            network.load_weights(self._path(epoch))
            sums = [total + w.numpy() for total, w in zip(sums, network.weights, strict=True)]
        for weight, total in zip(network.weights, sums, strict=True):
            weight.assign((total / len(epochs)).astype(weight.dtype))

    def _path(self, epoch: float) -> Path:
        return self.folder / f"{epoch:g}.weights.h5"

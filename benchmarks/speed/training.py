"""Training: tokens a second and peak memory of each task, beside its peers."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.processes import Remote
from benchmarks.speed.rounds import Effort, Ratio, interleaved

TASKS = ("captioning", "language_modeling", "sentiment", "translation")
CONTENDERS = {
    "ours": "benchmarks.speed.ours:OurTraining",
    "stock Keras": "benchmarks.speed.stock_keras:StockTraining",
    "PyTorch": "benchmarks.speed.pytorch_models:TorchTraining",
}
WARM_UP = 5
"""Steps in which graphs are traced, and as many to find the pace."""


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured of a task.

    Attributes:
        tokens_per_second: By contender, a figure for each round.
        peak_mb: By contender, the most memory its process held, in 10^6 bytes.
        busy: Share of the cores' time that ours took.
    """

    tokens_per_second: dict[str, list[float]]
    peak_mb: dict[str, float]
    busy: float

    def versus(self, peer: str) -> Ratio:
        """Compares ours with a peer."""
        return Ratio.of(self.tokens_per_second["ours"], self.tokens_per_second[peer])

    def summary(self) -> dict[str, float]:
        """Gives the figures that are followed from version to version."""
        return {
            "tokens_per_second": round(median(self.tokens_per_second["ours"])),
            "vs_keras": round(self.versus("stock Keras").value, 3),
            "vs_pytorch": round(self.versus("PyTorch").value, 3),
            "peak_mb": round(self.peak_mb["ours"]),
        }


def prepare(task: str, folder: Path) -> None:
    """Encodes a task's examples in a process of its own, for all contenders."""
    with Remote("benchmarks.speed.ours:Preparation", task, folder) as preparation:
        preparation.call("run")


def measure_training(folder: Path, effort: Effort) -> TrainingSpeed:
    """Lets all contenders train on a workload, in turn.

    Args:
        folder: What `prepare` wrote.
        effort: How long.
    """
    with ExitStack() as stack:
        remotes = {
            name: stack.enter_context(Remote(path, folder)) for name, path in CONTENDERS.items()
        }
        paces = {name: _pace(remote) for name, remote in remotes.items()}
        steps = {name: max(1, round(effort.seconds * pace)) for name, pace in paces.items()}
        measures = {name: _rate(remote, steps[name]) for name, remote in remotes.items()}
        rates = interleaved(measures, effort.rounds)
        peaks = {name: remote.peak_mb() for name, remote in remotes.items()}
        return TrainingSpeed(rates, peaks, _busy(remotes["ours"], steps["ours"]))


def profile(folder: Path) -> dict[str, float]:
    """Gives the share of our busy time by kind of operation."""
    with Remote("benchmarks.speed.profiles:ProfiledTraining", folder) as training:
        shares: dict[str, float] = training.call("shares")
        return shares


def _pace(remote: Remote) -> float:
    """Gives the steps that a contender takes in a second, after the first ones."""
    remote.call("train", WARM_UP)
    return WARM_UP / float(remote.call("train", WARM_UP).seconds)


def _rate(remote: Remote, steps: int) -> Callable[[], float]:
    """Makes what trains for so many steps and gives the tokens a second."""

    def measure() -> float:
        done: Any = remote.call("train", steps)
        return float(done.tokens / done.seconds)

    return measure


def _busy(remote: Remote, steps: int) -> float:
    """Trains for so many steps, and gives the share of the cores' time that it takes."""
    done: Any = remote.call("train", steps)
    return float(done.processor_seconds / done.seconds / len(os.sched_getaffinity(0)))

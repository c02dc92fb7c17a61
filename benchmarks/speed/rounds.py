"""Measuring contenders in turn, and comparing what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

Measure = Callable[[], float]
"""Measures once; more is better."""


class Effort(NamedTuple):
    """How much time is taken to measure.

    Attributes:
        rounds: Times that each contender is measured.
        seconds: Length of a round of training.
        rows: Numbers of synthetic rows that are streamed from the disk.
    """

    rounds: int
    seconds: float
    rows: tuple[int, ...]


FULL = Effort(rounds=5, seconds=4.0, rows=(10_000, 100_000, 1_000_000))
QUICK = Effort(rounds=3, seconds=1.0, rows=(10_000, 100_000))


def interleaved(measures: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """Measures all in turn, round after round: what slows the machine down slows all of them.

    Args:
        measures: What to measure by name; each is called once before, to warm up.
        rounds: Times that each is measured.

    Example:
        >>> steps = iter(range(10))
        >>> interleaved({"a": lambda: next(steps), "b": lambda: -next(steps)}, rounds=2)
        {'a': [2, 5], 'b': [-3, -4]}
    """
    for measure in measures.values():
        measure()
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        # Back and forth, so that none always comes after the same.
        for name in list(measures)[:: -1 if number % 2 else 1]:
            found[name].append(measures[name]())
    return found


class Ratio(NamedTuple):
    """How many times as much one measures as another.

    Attributes:
        value: The ratio of the medians.
        least: The smallest ratio in one round.
        most: The largest ratio in one round.
    """

    value: float
    least: float
    most: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """Compares rounds measured in turn.

        Example:
            >>> str(Ratio.of([10, 30, 20], [10, 10, 20]))
            '2.00 (1.00-3.00)'
        """
        each = [one / other for one, other in zip(ours, theirs, strict=True)]
        return cls(median(ours) / median(theirs), min(each), max(each))

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.least:.2f}-{self.most:.2f})"

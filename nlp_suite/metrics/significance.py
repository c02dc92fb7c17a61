"""Whether one run is better than another, or was lucky with its test set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


def _first_over_second(sums: Array) -> float:
    return float(sums[0] / sums[1])


class Statistics(NamedTuple):
    """What a metric of a whole test set is made of, example by example.

    Attributes:
        metric: The metric's name.
        rows: float [examples, statistics], counts that add up over examples.
        score: The metric, more being better, from the sum of the rows; by default the first
            statistic divided by the second.
    """

    metric: str
    rows: Array
    score: Callable[[Array], float] = _first_over_second


def paired_bootstrap(
    first: Array,
    second: Array,
    score: Callable[[Array], float] = _first_over_second,
    samples: int = 1000,
    seed: int = 0,
) -> float:
    """Returns the p-value of the difference between two runs on the same examples.

    The test set is drawn again and again, with replacement, and each time both runs are scored on
    the examples drawn; the p-value is the share of draws in which the better run is not the
    better one. Source: Koehn 2004, https://aclanthology.org/W04-3250.

    Args:
        first: float [examples, statistics], of the first run: counts that add up over examples,
            such as (1 if right else 0, 1), or `bleu_statistics`.
        second: The same of the second run.
        score: The metric of a whole test set, from the sum of its statistics; by default the first
            divided by the second.
        samples: How many test sets are drawn.
        seed: Decides the draws.

    Returns:
        From 1 / (samples + 1) to 1: below 0.05 a difference is usually called significant.

    Raises:
        ValueError: If the runs have different examples, or none.

    Example:
        Right in 60 and in 90 of a hundred examples:

        >>> right = lambda count: np.array([[float(i < count), 1.0] for i in range(100)])
        >>> paired_bootstrap(right(60), right(90)) < 0.01
        True
        >>> paired_bootstrap(right(60), right(61)) > 0.2
        True
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(
            "`first` and `second` must hold the same examples, at least one. "
            f"Received: first.shape={first.shape}, second.shape={second.shape}."
        )
    better, worse = first, second
    if score(first.sum(axis=0)) < score(second.sum(axis=0)):
        better, worse = second, first
    random = np.random.default_rng(seed)
    not_better = 0
    for _ in range(samples):
        rows = random.integers(len(first), size=len(first))
        not_better += score(better[rows].sum(axis=0)) <= score(worse[rows].sum(axis=0))
    return (not_better + 1) / (samples + 1)

"""Results of several seeds as numbers with their spread, and as tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

Result = Mapping[str, Any]
"""Metrics by name, and `minutes` of training, None where nothing was trained."""


def mean_and_spread(values: Sequence[float], digits: int = 4) -> str:
    """Writes the mean of some values and, of two and more, their standard deviation.

    Args:
        values: One a seed.
        digits: Significant digits of the mean; the deviation is written as finely.

    Example:
        >>> mean_and_spread([0.78, 0.80, 0.79]), mean_and_spread([21.98]), mean_and_spread([0.0])
        ('0.7900 ± 0.0100', '21.98', '0.000')
        >>> mean_and_spread([290.0, 300.0, 310.0])
        '300.0 ± 10.0'
    """
    mean = fmean(values)
    before_point = math.floor(math.log10(abs(mean))) + 1 if mean else 1
    decimals = max(digits - max(before_point, 0), 0)
    spread = f" ± {stdev(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{mean:.{decimals}f}{spread}"


def cell(results: Iterable[Result], name: str) -> str:
    """Writes one number of some results, or a dash where they have none.

    Example:
        >>> cell([{"bleu": 20.0}, {"bleu": 22.0}], "bleu"), cell([{"bleu": 20.0}], "ter")
        ('21.00 ± 1.41', '–')
    """
    values = [result[name] for result in results if result.get(name) is not None]
    return mean_and_spread(values) if values else "–"


def mean_minutes(results: Iterable[Result]) -> str:
    """Writes the mean of the minutes of training, or a dash where nothing was trained.

    Example:
        >>> mean_minutes([{"minutes": 10.0}, {"minutes": 9.5}]), mean_minutes([{"minutes": None}])
        ('9.8', '–')
    """
    values = [result["minutes"] for result in results if result.get("minutes") is not None]
    return f"{fmean(values):.1f}" if values else "–"


def difference(results: Iterable[Result], others: Iterable[Result], name: str) -> str:
    """Writes how far a mean is above that of others, with three digits; a dash if one is missing.

    Example:
        >>> difference([{"bleu": 20.0}, {"bleu": 21.0}], [{"bleu": 22.0}], "bleu")
        '-1.5'
        >>> difference([{"accuracy": 0.8125}], [{"accuracy": 0.78125}], "accuracy")
        '+0.0312'
    """
    means = [[result[name] for result in side] for side in (results, others)]
    if not all(means):
        return "–"
    return f"{fmean(means[0]) - fmean(means[1]):+.3g}"


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lays out a table.

    Example:
        >>> print(markdown(["system", "bleu"], [["ours", "21.9"]]), end="")
        | system | bleu |
        |---|---|
        | ours | 21.9 |
    """
    lines = [headings, *rows]
    written = ["| " + " | ".join(line) + " |\n" for line in lines]
    written.insert(1, "|" + "---|" * len(headings) + "\n")
    return "".join(written)


def settings(systems: Iterable[Iterable[Result]], otherwise: str) -> str:
    r"""Tells on what, when and by which commands some systems were measured.

    Args:
        systems: Results that know their `setting`, or do not.
        otherwise: What is told where none knows it.

    Returns:
        Each setting once, a paragraph each.

    Example:
        >>> settings([[{"setting": "Here."}, {"setting": "There."}], [{"setting": "Here."}]], "")
        'Here.\n\nThere.'
    """
    told = (result["setting"] for results in systems for result in results if "setting" in result)
    return "\n\n".join(dict.fromkeys(told)) or otherwise

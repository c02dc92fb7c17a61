"""Answering: many texts at once, and one text at a time, against `model.predict`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.speed.processes import Remote
from benchmarks.speed.rounds import Effort, Measure, interleaved

TEXTS = 10_000
FORMATS = ("SavedModel", "LiteRT", "ONNX")


@dataclass(frozen=True)
class Answers:
    """What was measured of sentiment analysis, from raw text to label.

    Attributes:
        texts_per_second: Of many texts, by contender, a figure for each round.
        calls_per_second: Of one text at a time, by contender: one over the median latency.
    """

    texts_per_second: dict[str, list[float]]
    calls_per_second: dict[str, list[float]]


def measure_answers(folder: Path, effort: Effort) -> Answers:
    """Lets the exports and `model.predict` answer the same texts, in turn.

    Args:
        folder: The workload of sentiment analysis.
        effort: How often.
    """
    with (
        Remote("benchmarks.speed.our_answers:OurAnswers", folder, TEXTS) as ours,
        Remote("benchmarks.speed.stock_answers:StockAnswers", folder, TEXTS) as stock,
    ):
        many = {
            "nlp-suite predict": lambda: TEXTS / float(ours.call("seconds")),
            "model.predict": lambda: TEXTS / float(stock.call("seconds")),
        }
        single: dict[str, Measure] = {
            name: partial(_calls_per_second, ours, name) for name in FORMATS
        }
        single["model.predict"] = partial(_calls_per_second, stock)
        return Answers(interleaved(many, effort.rounds), interleaved(single, effort.rounds))


def _calls_per_second(remote: Remote, *arguments: str) -> float:
    return 1 / float(remote.call("latency", *arguments))

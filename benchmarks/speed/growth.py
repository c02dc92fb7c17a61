"""How cost grows: with the length of sequences, the batch, the vocabulary and the data."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.speed.processes import Remote
from benchmarks.speed.rounds import Effort

BASE = {"length": 32, "batch": 32, "vocabulary": 2_000}
"""From which one number is changed at a time."""
SIZES = {
    "length": (16, 64, 128, 256),
    "batch": (8, 32, 128, 256),
    "vocabulary": (2_000, 8_000, 32_000),
}


class Point(NamedTuple):
    """The speed at one size.

    Attributes:
        what: The size that is changed.
        size: Its value.
        tokens_per_second: The median of some rounds.
    """

    what: str
    size: int
    tokens_per_second: float


class Streamed(NamedTuple):
    """What a file of many rows costs.

    Attributes:
        rows: Rows of the file.
        rows_per_second: Read, checked, tokenized and written as token ids.
        tokens_per_second: Trained.
        peak_mb: The most memory that the process held, in 10^6 bytes.
    """

    rows: int
    rows_per_second: float
    tokens_per_second: float
    peak_mb: float


def measure_sizes(effort: Effort) -> Iterator[Point]:
    """Trains the language model at several sizes."""
    rounds = (effort.rounds + 1) // 2
    with Remote("benchmarks.speed.synthetic:SyntheticLanguageModel") as model:
        for what, sizes in SIZES.items():
            for size in sizes:
                arguments = tuple({**BASE, what: size}.values())
                rates = [model.call("tokens_per_second", *arguments) for _ in range(rounds)]
                yield Point(what, size, median(rates))


def measure_rows(effort: Effort) -> Iterator[Streamed]:
    """Streams synthetic files of growing length, each in a fresh process."""
    for rows in effort.rows:
        with Remote("benchmarks.speed.synthetic:StreamedRows", rows) as remote:
            seconds, rate = remote.call("run")
            yield Streamed(rows, rows / seconds, rate, remote.peak_mb())

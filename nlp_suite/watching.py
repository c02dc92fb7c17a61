"""What a run shows while it goes on: one line in the terminal, a log, a table and curves."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from nlp_suite.files import write_beside

REDRAW_SECONDS = 0.2
QUIET_SECONDS = 60.0
"""Between lines where there is no terminal to redraw one on."""


class Watch:
    """Shows progress on stderr and keeps train.log.

    On a terminal one line is redrawn in place; elsewhere a line is printed once a minute.

    Args:
        run_dir: Where train.log is kept.
        stream: Where to print.
    """

    def __init__(self, run_dir: Path, stream: TextIO = sys.stderr) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.log = run_dir / "train.log"
        self.stream = stream
        self.in_place = stream.isatty()
        self.last = 0.0
        self.width = 0

    def say(self, line: str) -> None:
        """Prints a line that stays, and logs it with the time."""
        self._erase()
        print(line, file=self.stream, flush=True)
        with self.log.open("a", encoding="utf-8") as file:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=file)

    def progress(self, line: str) -> None:
        """Shows where the run is, as often as can be read."""
        now = time.monotonic()
        if now - self.last < (REDRAW_SECONDS if self.in_place else QUIET_SECONDS):
            return
        self.last = now
        if self.in_place:
            print(f"\r{line:<{self.width}}", end="", file=self.stream, flush=True)
            self.width = len(line)
        else:
            print(line, file=self.stream, flush=True)

    def _erase(self) -> None:
        if self.in_place and self.width:
            print("\r" + " " * self.width, end="\r", file=self.stream)
            self.width = 0


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes history.csv: a header, then a line for each epoch."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with write_beside(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def duration(seconds: float) -> str:
    """Writes a length of time shortly.

    Example:
        >>> duration(75), duration(3700)
        ('1:15', '1:01:40')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

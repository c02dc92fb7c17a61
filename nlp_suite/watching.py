"""What a run shows while it goes on: a line in the terminal, a log, a table and TensorBoard."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import tensorflow as tf

from nlp_suite.files import write_beside
from nlp_suite.progress import Progress

REDRAW_SECONDS = 0.2
QUIET_SECONDS = 60.0
"""Between lines where there is no terminal to redraw one on."""
BOARD_STEPS = 20
"""Steps between points of TensorBoard's curves within an epoch."""


class Watch:
    """Shows progress on stderr and keeps train.log, history.csv and TensorBoard's curves.

    On a terminal one line is redrawn in place; elsewhere a line is printed once a minute.

    Args:
        run_dir: The run's folder.
        stream: Where to print; stderr by default.
    """

    def __init__(self, run_dir: Path, stream: TextIO | None = None) -> None:
        self.run_dir = run_dir
        self.stream = stream or sys.stderr
        self.in_place = self.stream.isatty()
        self.shown_at = time.monotonic()
        self.width = 0

    def say(self, line: str) -> None:
        """Prints a line that stays, and logs it with the time."""
        if self.width:
            print("\r" + " " * self.width, end="\r", file=self.stream)
            self.width = 0
        print(line, file=self.stream, flush=True)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with (self.run_dir / "train.log").open("a", encoding="utf-8") as file:
            print(time.strftime("%Y-%m-%d %H:%M:%S"), line, file=file)

    def step(
        self, progress: Progress, loss: float, speed: float, padding: float, left: float
    ) -> None:
        """Shows where the run is, as often as it can be read.

        Args:
            progress: How far it is.
            loss: Mean of the epoch so far.
            speed: Tokens a second.
            padding: Share of padding among the tokens of a batch.
            left: Seconds to the end of the epoch.
        """
        if progress.updates % BOARD_STEPS == 0:
            self._board({"train/loss": loss, "train/tokens_per_second": speed}, progress.updates)
        now = time.monotonic()
        if now - self.shown_at < (REDRAW_SECONDS if self.in_place else QUIET_SECONDS):
            return
        self.shown_at = now
        best = "" if progress.best is None else f"  best so far {progress.best:.4g}"
        line = (
            f"epoch {progress.epoch + 1}, step {progress.step}  loss {loss:.4g}{best}  "
            f"{speed:,.0f} tokens/s  padding {padding:.0%}  {duration(left)} left"
        )
        if self.in_place:
            print(f"\r{line:<{self.width}}", end="", file=self.stream, flush=True)
            self.width = len(line)
        else:
            print(line, file=self.stream, flush=True)

    def epoch(self, progress: Progress, epochs: int, watched: Sequence[str], samples: str) -> None:
        """Tells how an epoch went, and writes history.csv, with all that was measured, anew.

        Args:
            progress: How far the run is.
            epochs: How many epochs it may last.
            watched: The metrics shown beside the loss, where they were measured.
            samples: Predictions of the network as it is, in Markdown.
        """
        row = progress.history[-1]
        write_csv(self.run_dir / "history.csv", progress.history)
        self._board({f"epoch/{name}": value for name, value in row.items()}, progress.updates)
        with self._writer.as_default():
            tf.summary.text("predictions", samples, progress.updates)
        shown = dict.fromkeys(("loss", "val_loss", *(f"val_{metric}" for metric in watched)))
        self.say(
            f"epoch {row['epoch']:g}/{epochs}  {duration(progress.seconds)}  "
            + "  ".join(f"{name} {row[name]:.4g}" for name in shown if name in row)
            + ("  (best)" if progress.best_epoch == row["epoch"] else "")
        )

    @cached_property
    def _writer(self) -> Any:
        return tf.summary.create_file_writer(str(self.run_dir / "tensorboard"))

    def _board(self, values: Mapping[str, float], step: int) -> None:
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step)


class Silence(Watch):
    """Shows and keeps nothing: what is told of a run with many processes, the chief tells."""

    def say(self, line: str) -> None:
        """Says nothing."""

    def step(
        self, progress: Progress, loss: float, speed: float, padding: float, left: float
    ) -> None:
        """Shows nothing."""

    def epoch(self, progress: Progress, epochs: int, watched: Sequence[str], samples: str) -> None:
        """Writes nothing."""


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as comma-separated values under a header of all their names.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "history.csv")
        >>> write_csv(path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "val_loss": 0.25}])
        >>> path.read_text().split()
        ['epoch,loss,val_loss', '1,0.5,', '2,,0.25']
    """
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

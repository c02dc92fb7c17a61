"""Starting: how long people wait for the first sign."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

from benchmarks.speed.rounds import Effort

FIRST_STEP = b"epoch 1, step "
"""What a terminal shows of training, as soon as there is something to show."""
HELP = b"usage: "


class Start(NamedTuple):
    """How long a task's commands take to say something.

    Attributes:
        task: Its name.
        help_seconds: Until `--help` helps.
        first_step_seconds: Until the first step of training is done, everything included: texts are
            read, words learned, examples encoded.
    """

    task: str
    help_seconds: float
    first_step_seconds: float


def measure_start(task: str, effort: Effort) -> Start:
    """Starts a task's commands, one after the other.

    Args:
        task: Its name.
        effort: How often.
    """
    command = [sys.executable, "-m", f"tasks.{task}"]
    helps, steps = [], []
    for _ in range((effort.rounds + 1) // 2):
        helps.append(seconds_until(HELP, [*command, "--help"]))
        with tempfile.TemporaryDirectory() as folder:
            train = [*command, "train", "--run-dir", str(Path(folder, "run"))]
            steps.append(seconds_until(FIRST_STEP, train))
    return Start(task, median(helps), median(steps))


def seconds_until(sign: bytes, command: Sequence[str]) -> float:
    """Runs a command in a terminal until it shows something, and then ends it.

    Args:
        sign: What it shows.
        command: The command and its arguments.

    Raises:
        RuntimeError: When the command ends without it.

    Example:
        >>> seconds_until(b"done", [sys.executable, "-c", "print('done')"]) > 0
        True
    """
    began = perf_counter()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    try:
        while sign not in shown:
            try:
                more = os.read(ours, 1024)
            except OSError:  # what Linux says of a terminal that everybody has left
                more = b""
            if not more:
                raise RuntimeError(f"{command} ended without {sign!r}: {shown!r}")
            shown += more
        return perf_counter() - began
    finally:
        process.kill()
        process.wait()
        os.close(ours)

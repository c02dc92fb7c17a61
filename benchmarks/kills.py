"""Kills training runs at random moments, and sees whether they end as if nothing had happened.

    python -m benchmarks.kills [--kills 20]

A sentiment, a translation and a language-modeling run are killed (SIGKILL) while they tokenize, in
steps, in saves and in evaluations, each time gone on with, and compared with a run that was left
alone: weights, optimizer, averages, random states, the best weights and the history, bit for bit.
Dropout, averaged weights and early stopping are on. Half of the kills hit runs in float32, half of
them runs in mixed_bfloat16. Writes benchmarks/kills.md; 20 kills a task take a quarter of an hour.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import tensorflow as tf

from nlp_suite.checkpoints import latest_checkpoint
from nlp_suite.devices import cpu_name
from nlp_suite.runs import WEIGHTS

PRECISIONS = ("float32", "mixed_bfloat16")
COMMON = {
    "epochs": 4,
    "patience": 2,
    "batch-size": 16,
    "units": 32,
    "embedding-units": 32,
    "dropout": 0.2,
    "ema": 0.9,
    "vocabulary-size": 400,
    "checkpoint-minutes": 0.01,
}
TASKS = {
    "sentiment": (400, ["--embeddings", "none"]),
    "translation": (300, ["--decode", "greedy", "--max-length", "20", "--score-seconds", "100"]),
    "language_modeling": (400, ["--bptt", "20", "--random-bptt"]),
}
"""How many training examples a task's run has, and the flags of its own."""
VALIDATION = 32
"""Validation examples: so few that all are scored, however slow the machine is."""
LOST = ("minutes", "tokens_per_second")
"""Columns of the history that tell the time."""


class Place(NamedTuple):
    """Where a run is killed: a random while after a function has been called so often.

    Attributes:
        owner: The module or class of the function.
        function: Its name.
        calls: At which of its calls at the latest.
        seconds: How long after the call at the latest.
    """

    owner: str
    function: str
    calls: int
    seconds: float


PLACES = {
    "tokenizing": Place("nlp_suite.encoding", "encode_examples", 2, 0.3),
    "step": Place("nlp_suite.epoch:Epoch", "on_train_batch_begin", 12, 0.03),
    "save": Place("nlp_suite.training", "save_checkpoint", 2, 0.05),
    "evaluation": Place("nlp_suite.training", "validate", 1, 0.5),
}


@dataclass
class Campaign:
    """The kills of one task in one precision.

    Attributes:
        task: The task's name.
        precision: What its runs are trained in.
        kills: How often its runs are killed.
        folder: Where the runs are kept.
        data: The folder of its examples.
        hits: Kills so far, by place.
        runs: Killed runs that came to their end.
        differences: What differed from the run that was left alone.
    """

    task: str
    precision: str
    kills: int
    folder: Path
    data: Path
    hits: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    differences: list[str] = field(default_factory=list)

    def run(self) -> Campaign:
        """Kills runs as often as asked, lets each come to its end, and compares it."""
        draw = random.Random(f"{self.task} {self.precision}")
        self._train(self.folder / "whole")
        while self.hits.total() < self.kills:
            run_dir = self.folder / f"killed-{self.runs}"
            self.hits["tokenizing"] += self._is_killed(run_dir, "tokenizing", draw)
            places = draw.choices(["step", "save", "evaluation"], k=self.kills)
            for place in places[: self.kills - self.hits.total()]:
                if not self._is_killed(run_dir, place, draw):
                    break  # it had come to its end before
                self.hits[place] += 1
            self._train(run_dir)
            self.runs += 1
            self.differences += differences(self.folder / "whole", run_dir)
        print(f"{self.task}, {self.precision}: {self.differences or 'equal'}", flush=True)
        return self

    def _is_killed(self, run_dir: Path, place: str, draw: random.Random) -> bool:
        _, _, calls, seconds = PLACES[place]
        moment = f"{place!r}, {draw.randint(1, calls)}, {draw.uniform(0, seconds)!r}"
        ended = self._run(run_dir, f"from benchmarks.kills import victim; victim({moment})")
        if ended.returncode not in (0, -signal.SIGKILL):
            sys.exit(ended.stderr)
        return ended.returncode == -signal.SIGKILL

    def _train(self, run_dir: Path) -> None:
        ended = self._run(run_dir, "")
        if ended.returncode:
            sys.exit(ended.stderr)

    def _run(self, run_dir: Path, first: str) -> subprocess.CompletedProcess[str]:
        """Trains, or goes on, in a process of its own that first runs a line of Python."""
        program = f"{first}\nfrom nlp_suite.cli import main\nmain('tasks.{self.task}')"
        flags = ["--run-dir", str(run_dir), "--data", str(self.data), "--precision", self.precision]
        flags += [f"--{name}={value}" for name, value in COMMON.items()]
        command = [sys.executable, "-c", program, "train", *flags, *TASKS[self.task][1]]
        return subprocess.run(command, check=False, capture_output=True, text=True)


def victim(place: str, call: int, seconds: float) -> None:
    """Makes this process kill itself: so long after a function has been called so often."""
    owner_name, function, _, _ = PLACES[place]
    module, _, name = owner_name.partition(":")
    owner = import_module(module)
    owner = getattr(owner, name) if name else owner
    original, calls = getattr(owner, function), itertools.count(1)

    def called(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return original(*arguments, **options)

    setattr(owner, function, called)


def write_data(task: str, folder: Path) -> Path:
    """Writes a few of a task's builtin examples as files of their own."""
    config = import_module(f"tasks.{task}.config").CONFIG()
    examples = import_module(f"tasks.{task}.task").TASK(config).examples
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        count = TASKS[task][0] if split == "train" else VALIDATION
        lines = [json.dumps(row) + "\n" for row in islice(examples(split), count)]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def differences(one: Path, other: Path) -> list[str]:
    """Names what two runs ended with that is not the same, bit for bit."""
    first, second = content(one), content(other)
    names = first.keys() | second.keys()
    return sorted(name for name in names if first.get(name) != second.get(name))


def content(run_dir: Path) -> dict[str, Any]:
    """Reads all that a run ended with: its variables, its best weights, its history."""
    checkpoint = latest_checkpoint(run_dir / "checkpoints")
    found: dict[str, Any] = {}
    for name, array in checkpoint.arrays.items() if checkpoint else ():
        found[name] = (array.dtype, array.tobytes())
    with h5py.File(run_dir / WEIGHTS) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None
            )
        )
    with (run_dir / "history.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    found["history"] = [{k: v for k, v in row.items() if k not in LOST} for row in rows]
    return found


def report(campaigns: Iterable[Campaign], minutes: float) -> str:
    """Lays the results out as a page of Markdown."""
    lines = [
        "# Kills",
        "",
        f"`python -m benchmarks.kills`, {time.strftime('%Y-%m-%d')}, {minutes:.0f} minutes on "
        f"{cpu_name()}; TensorFlow {tf.__version__}, Keras {keras.__version__}.",
        "",
        "Runs were killed by SIGKILL at random moments in these places and gone on with; then all",
        "that they ended with was compared with a run that was left alone.",
        "",
        f"| task | precision | {' | '.join(PLACES)} | runs | compared bit for bit |",
        f"| --- | --- |{' ---: |' * (len(PLACES) + 1)} --- |",
    ]
    for one in campaigns:
        hits = " | ".join(str(one.hits[place]) for place in PLACES)
        verdict = f"{len(one.differences)} differences" if one.differences else "equal"
        lines.append(f"| {one.task} | {one.precision} | {hits} | {one.runs} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the campaigns, two at a time, and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="Kills of each task.")
    parser.add_argument("--tasks", nargs="*", choices=[*TASKS], default=[*TASKS])
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        campaigns = []
        for task in arguments.tasks:
            data = write_data(task, Path(folder, task, "data"))
            for part, precision in enumerate(PRECISIONS):
                kills = (arguments.kills + part) // len(PRECISIONS)
                campaigns.append(Campaign(task, precision, kills, data.parent / precision, data))
        done = list(pool.map(Campaign.run, campaigns))
    page = report(done, (time.monotonic() - began) / 60)
    Path("benchmarks/kills.md").write_text(page, encoding="utf-8")
    print(page)
    sys.exit(any(one.differences for one in done))


if __name__ == "__main__":
    main()

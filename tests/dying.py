"""A task whose processes die on the way, each once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from tiny import TinyClassifier

from nlp_suite.cluster import Cluster
from nlp_suite.training import Loop

DEATHS = {(3, 1): "worker", (6, 0): "chief", (10, 1): "node"}
"""Who dies after how many updates, in which process of the cluster."""


class DyingClassifier(TinyClassifier):
    """The tiny classifier; a process that trains it is bound to die."""


def rate(loop: Loop) -> float:
    """Gives the rate of the next step, unless this is the moment to die."""
    moment = loop.progress.updates, Cluster.from_environment().index
    if isinstance(loop.task, DyingClassifier) and moment in DEATHS:
        die_once(loop.run_dir / f"{DEATHS[moment]}.dead")
    return living_rate(loop)


def die_once(mark: Path) -> None:
    """Kills this process, or that of the node which started it, unless the mark is there."""
    if not mark.exists():
        mark.touch()
        is_node = mark.name.startswith("node")
        os.kill(os.getppid() if is_node else os.getpid(), signal.SIGKILL)
        threading.Event().wait()  # until the death of the node reaches this process


living_rate, Loop.rate = Loop.rate, rate  # type: ignore[assignment, method-assign]

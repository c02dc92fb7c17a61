"""On what a step of training spends its time, as TensorFlow's profiler sees it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.speed.ours import OurTraining

KINDS = {
    "products": r"MatMul|Einsum",
    "copies": r"TensorList|Transpose|Concat|Split|Slice|Gather|Pack|Reverse|Cast|Pad|Tile|Where",
    "random numbers": r"Random",
    "updates": r"ResourceApply|Assign|L2Loss|UnsortedSegmentSum|AddN",
}
"""What the names of operations say; those that match none are arithmetic, element by element."""
ELEMENTWISE = "elementwise"
BETWEEN = "between operations"
"""TensorFlow choosing what comes next: the more and the smaller the operations, the more of it."""
WARM_UP, STEPS = 10, 10


class ProfiledTraining(OurTraining):
    """Trains a task with its defaults, and says on what the cores spend their time."""

    def shares(self) -> dict[str, float]:
        """Gives the share of the busy time by kind of operation, 1 in all."""
        self.train(WARM_UP)
        options = tf.profiler.experimental.ProfilerOptions(python_tracer_level=0)
        with tempfile.TemporaryDirectory() as folder:
            with tf.profiler.experimental.Profile(folder, options):
                self.train(STEPS)
            seconds = seconds_by_kind(Path(folder))
        return {kind: each / sum(seconds.values()) for kind, each in seconds.items()}


def seconds_by_kind(folder: Path) -> dict[str, float]:
    """Adds up what the profiler wrote into a folder."""
    busy = 0.0
    seconds = dict.fromkeys((*KINDS, ELEMENTWISE), 0.0)
    for name, duration in _events(folder):
        if name.startswith("ExecutorState::Process"):
            busy += duration
        elif "::" not in name and (operation := name.rpartition(":")[2]) != name:
            seconds[kind_of(operation)] += duration
    # An operation may run on beside the executor that began it.
    return {**seconds, BETWEEN: max(0.0, busy - sum(seconds.values()))}


def kind_of(operation: str) -> str:
    """Says of which kind an operation is.

    Example:
        >>> kind_of("_MklMatMul"), kind_of("TensorListStack"), kind_of("Sigmoid")
        ('products', 'copies', 'elementwise')
    """
    found = (kind for kind, names in KINDS.items() if re.search(names, operation))
    return next(found, ELEMENTWISE)


def _events(folder: Path) -> Iterator[tuple[str, float]]:
    """Reads name and seconds of all that the threads did which compute."""
    (path,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    (plane,) = (plane for plane in space.planes if plane.name == "/host:CPU")
    for line in plane.lines:
        if line.name.startswith("tf_Compute"):
            for event in line.events:
                yield plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e12

"""Decoding: sentences a second of greedy decoding and beam search, one by one and in a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.processes import Remote
from benchmarks.speed.rounds import Effort, interleaved
from benchmarks.speed.workloads import SENTENCES

CONTENDERS = {
    "ours": "benchmarks.speed.our_decoding:OurDecoding",
    "Python loop": "benchmarks.speed.our_decoding:PythonLoop",
    "PyTorch": "benchmarks.speed.pytorch_decoding:TorchDecoding",
}
BEAM_WIDTHS = (1, 4)
BATCH_SIZES = (1, SENTENCES)


class Search(NamedTuple):
    """A way of decoding.

    Attributes:
        beam_width: Hypotheses of a sentence; 1 is greedy.
        batch_size: Sentences translated together.
    """

    beam_width: int
    batch_size: int

    def __str__(self) -> str:
        kind = "greedy" if self.beam_width == 1 else f"beam {self.beam_width}"
        return f"{kind}, batch {self.batch_size}"


SEARCHES = tuple(Search(width, size) for width in BEAM_WIDTHS for size in BATCH_SIZES)


def measure_decoding(folder: Path, effort: Effort) -> dict[Search, dict[str, list[float]]]:
    """Lets all contenders translate the same sentences, in turn.

    Args:
        folder: The workload of translation.
        effort: How often.

    Returns:
        Sentences a second for each search, by contender, a figure for each round. The loop takes
        one sentence at a time, whatever the batch size.
    """
    with ExitStack() as stack:
        remotes = {
            name: stack.enter_context(Remote(path, folder)) for name, path in CONTENDERS.items()
        }
        return {
            search: interleaved(
                {
                    name: _rate(
                        remote, search.beam_width, 1 if name == "Python loop" else search.batch_size
                    )
                    for name, remote in remotes.items()
                },
                effort.rounds,
            )
            for search in SEARCHES
        }


def _rate(remote: Remote, beam_width: int, batch_size: int) -> Callable[[], float]:
    """Makes what translates all sentences once and gives the sentences a second."""
    return lambda: SENTENCES / float(remote.call("seconds", beam_width, batch_size))

"""What all contenders train on: a task's encoded examples and its settings, as NumPy arrays.

Read back without TensorFlow, whose memory would else be counted as PyTorch's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nlp_suite.specials import PAD

Array = np.ndarray[Any, Any]
Batch = tuple[dict[str, Array], Array]
"""Inputs by name, and targets."""

SENTENCES = 32
"""Sentences that are translated to measure decoding."""
WINDOW = 100
"""Batches sorted together by length."""
FIXED_LENGTH_PERCENTILE = 95
"""Fixed padding cuts what is longer than this share of the sequences, as the examples of keras.io
do: up to the longest one, most of a batch would be padding."""


class Column(NamedTuple):
    """One feature of all examples: a value each, or a sequence each.

    Attributes:
        values: `[rows, ...]`, or `[tokens]` of all sequences one after the other.
        splits: `int64 [rows + 1]`, where each sequence begins and the last one ends; None for plain
            values.
    """

    values: Array
    splits: Array | None = None

    @property
    def lengths(self) -> Array:
        """Tokens of each sequence, `int64 [rows]`; 0 where the column has no sequences."""
        return np.zeros(len(self.values), int) if self.splits is None else np.diff(self.splits)

    def rows(self, rows: Array, length: int | None = None) -> Array:
        """Gathers rows; sequences are cut or padded to `length`, by default to the longest.

        Example:
            >>> Column(np.array([5, 6, 7, 8]), np.array([0, 1, 4])).rows(np.array([0, 1]), length=2)
            array([[5, 0],
                   [6, 7]])
        """
        if self.splits is None:
            return np.asarray(self.values[rows])
        begins, ends = self.splits[rows], self.splits[rows + 1]
        padded = np.full((len(rows), length or (ends - begins).max()), PAD, self.values.dtype)
        for row, begin, end in zip(padded, begins, ends, strict=True):
            sequence = self.values[begin:end][: len(row)]
            row[: len(sequence)] = sequence
        return padded


@dataclass(frozen=True)
class Workload:
    """A task's training examples, encoded, and all that a network for them must know.

    Attributes:
        name: The task's name.
        settings: The task's settings by name.
        vocabularies: Sizes of its vocabularies by the names of the tokenizers.
        inputs: What the network reads.
        targets: What it should say.
    """

    name: str
    settings: dict[str, Any]
    vocabularies: dict[str, int]
    inputs: dict[str, Column]
    targets: Column

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def vocabulary_size(self) -> int:
        """Different tokens in what is written."""
        return self.vocabularies["caption" if self.name == "captioning" else "text"]

    @property
    def is_stream(self) -> bool:
        """Whether the examples are read as one long stream of tokens, as by a language model."""
        return "bptt" in self.settings

    @property
    def lengths(self) -> Array:
        """Tokens of each example in each sequence that is read, `int [rows, sequences]`."""
        columns = [column for column in self.inputs.values() if column.splits is not None]
        return np.stack([column.lengths for column in columns], axis=1)

    @property
    def fixed_lengths(self) -> dict[str, int]:
        """The length to which each sequence is cut or padded where padding is fixed."""
        columns = {**self.inputs, "targets": self.targets}
        return {
            name: int(np.percentile(column.lengths, FIXED_LENGTH_PERCENTILE))
            for name, column in columns.items()
            if column.splits is not None
        }

    def batch(self, rows: Array, lengths: dict[str, int] | None = None) -> Batch:
        """Gathers examples, padded to the longest of them or to fixed `lengths`."""
        fixed = lengths or {}
        inputs = {name: c.rows(rows, fixed.get(name)) for name, c in self.inputs.items()}
        return inputs, self.targets.rows(rows, fixed.get("targets"))

    def windows(self) -> Iterator[Batch]:
        """Reads the stream window by window, again and again; row `i` goes on in row `i`."""
        streams, width = self.settings["batch_size"], self.settings["bptt"]
        length = len(self.targets.values) // streams
        columns = {**self.inputs, "targets": self.targets}
        pieces = {
            name: column.values[: streams * length].reshape(streams, length)
            for name, column in columns.items()
        }
        while True:
            for begin in range(0, length - width + 1, width):
                window = {name: rows[:, begin : begin + width] for name, rows in pieces.items()}
                targets = window.pop("targets")
                yield window, targets

    def save(self, folder: Path) -> None:
        """Writes the arrays and the settings to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, column in {**self.inputs, "targets": self.targets}.items():
            np.save(folder / f"{name}.values.npy", column.values)
            if column.splits is not None:
                np.save(folder / f"{name}.splits.npy", column.splits)
        about = {
            "name": self.name,
            "settings": self.settings,
            "vocabularies": self.vocabularies,
            "inputs": list(self.inputs),
        }
        (folder / "workload.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Workload:
        """Opens what `save` wrote; the arrays are mapped, not read."""
        about = json.loads((folder / "workload.json").read_text(encoding="utf-8"))
        inputs = {name: _load_column(folder, name) for name in about.pop("inputs")}
        return cls(**about, inputs=inputs, targets=_load_column(folder, "targets"))


def count_tokens(inputs: dict[str, Array]) -> int:
    """Counts the tokens that a network reads in a batch, without padding.

    Example:
        >>> count_tokens({"source": np.array([[7, 8, 0]]), "tokens": np.array([[2, 9, 4]])})
        5
    """
    return sum(int(np.count_nonzero(rows)) for rows in inputs.values() if rows.ndim == 2)


def sources_to_translate(workload: Workload) -> tuple[Column, Array]:
    """Picks sentences, and how long their translations are to be.

    Args:
        workload: That of translation.

    Returns:
        Token ids, and `int32 [SENTENCES]`, the lengths of the references.
    """
    return workload.inputs["source"], workload.targets.lengths[:SENTENCES].astype(np.int32)


def cut(rows: Array, size: int) -> list[Array]:
    """Cuts rows into parts of one size; the last may be smaller.

    Example:
        >>> [part.tolist() for part in cut(np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    return np.split(rows, range(size, len(rows), size))


def shuffled_batches(rows: int, batch_size: int, seed: int = 0) -> Iterator[Array]:
    """Draws the rows of batches, epoch after epoch, in random order."""
    generator = np.random.default_rng(seed)
    while True:
        yield from cut(generator.permutation(rows), batch_size)


def sorted_batches(lengths: Array, batch_size: int, seed: int = 0) -> Iterator[Array]:
    """Draws the rows of batches of similar lengths, epoch after epoch.

    Rows are shuffled, sorted within windows of a hundred batches, cut into batches, and the batches
    shuffled again.

    Args:
        lengths: `int [rows, sequences]`.
        batch_size: Rows of a batch.
        seed: Seeds the order.
    """
    generator = np.random.default_rng(seed)
    while True:
        found = []
        for window in cut(generator.permutation(len(lengths)), WINDOW * batch_size):
            found += cut(window[np.lexsort(lengths[window].T[::-1])], batch_size)
        yield from (found[i] for i in generator.permutation(len(found)))


def _load_column(folder: Path, name: str) -> Column:
    splits = folder / f"{name}.splits.npy"
    # Mapped copy-on-write: PyTorch warns of arrays that cannot be written.
    values = np.load(folder / f"{name}.values.npy", mmap_mode="c")
    return Column(values, np.load(splits) if splits.exists() else None)

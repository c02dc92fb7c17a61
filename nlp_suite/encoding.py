"""Examples encoded once: flat arrays on disk, read back through memory maps.

Tokenizing a batch of a thousand rows is many times faster than row by row, and tokenizing once is
faster still. The arrays are mapped, not loaded, so data larger than the memory trains as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf

from nlp_suite.answering import Tensors, batches, refusal, side_by_side
from nlp_suite.datasets import Example
from nlp_suite.encoded import Array, Column, Encoded, Splits
from nlp_suite.errors import UserError
from nlp_suite.files import write_beside
from nlp_suite.task import Task

Trace = Callable[[tuple[str, ...]], Any]
"""Makes graph code of a task's `encode` for features."""

ROWS_AT_ONCE = 1024
IMAGES_AT_ONCE = 64
"""Rows with an image, of which a thousand can be gigabytes."""


class EncodingError(ValueError):
    """An example that `encode` refuses.

    Attributes:
        row: Its number among those encoded, from 0.
    """

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


def fingerprint(examples: Iterable[Example]) -> str:
    """Condenses the content of examples, in their order, into 16 hexadecimal digits.

    Example:
        >>> fingerprint([{"text": "a"}]) == fingerprint([{"text": "b"}])
        False
    """
    digest = hashlib.blake2b(digest_size=8)
    for example in examples:
        for name, value in example.items():
            content = value.encode() if isinstance(value, str) else value
            digest.update(f"{name} {len(content)} ".encode())
            digest.update(content)
    return digest.hexdigest()


def encode_examples(
    task: Task[Any], examples: Iterable[Example], folder: Path, trace: Trace | None = None
) -> Encoded:
    """Encodes examples into a folder, or opens what an earlier call left there.

    Args:
        task: Whose `encode` is used.
        examples: Raw examples.
        folder: Where the arrays are kept; its name must tell the content, for an existing folder is
            taken as it is.
        trace: Makes graph code of `task.encode`; None traces it anew.

    Returns:
        The encoded examples, mapped from the disk.

    Raises:
        EncodingError: When `encode` refuses an example.
        ValueError: When there is no example, or `encode` makes an empty sequence of one.
    """
    if not folder.is_dir():
        with write_beside(folder) as temporary:
            temporary.mkdir()
            _write(task, examples, temporary, trace or _tracer(task))
    columns = {
        name: _open(folder, name, description)
        for name, description in json.loads((folder / "columns.json").read_text()).items()
    }
    return Encoded(targets=columns.pop("targets"), inputs=columns)


def encode_splits(task: Task[Any], folder: Path) -> Splits:
    """Encodes the training and validation examples, once.

    Args:
        task: The task with its tokenizers.
        folder: Where the encoded examples are kept, under names that tell their content.

    Raises:
        UserError: When an example cannot be encoded, such as an image that is damaged.
    """
    encoded, prints = {}, {}
    trace = _tracer(task)  # once for both: the graph of an image network takes seconds
    for split in ("train", "validation"):
        examples = task.examples(split)
        prints[split] = fingerprint(examples)
        try:
            place = folder / f"{split}-{prints[split]}"
            encoded[split] = encode_examples(task, examples, place, trace)
        except EncodingError as error:
            row = next(islice(task.dataset.texts(split), error.row, None))
            hint = ", or pass --bad-rows skip" if "image" in task.serving_inputs else ""
            raise UserError(
                f"`data` cannot be used: {error} That is {shorten(str(row), 200)} of the {split} "
                f"split. Put it right, or take it out{hint}."
            ) from error
    return Splits(encoded["train"], encoded["validation"], prints["train"])


def _write(task: Task[Any], examples: Iterable[Example], folder: Path, trace: Trace) -> None:
    """Appends the columns of batch after batch to one file each."""
    files: dict[str, BinaryIO] = {}
    lengths: dict[str, list[Array]] = {}
    columns: dict[str, dict[str, Any]] = {}
    size = IMAGES_AT_ONCE if "image" in task.serving_inputs else ROWS_AT_ONCE
    numbered = enumerate(batches(examples, size))
    # Graphs are traced by this thread, one at a time, and used by others.
    traced = ((trace(tuple(batch)), batch, number * size) for number, batch in numbered)
    try:
        for inputs, targets in side_by_side(lambda each: _encode(*each), traced):
            for name, tensor in {**inputs, "targets": targets}.items():
                if name not in files:
                    files[name] = (folder / f"{name}.values").open("wb")
                is_ragged = isinstance(tensor, tf.RaggedTensor)
                values = (tensor.flat_values if is_ragged else tensor).numpy()
                files[name].write(values.data)
                columns[name] = {"dtype": values.dtype.str, "shape": values.shape[1:]}
                if is_ragged:
                    lengths.setdefault(name, []).append(tensor.row_lengths().numpy())
    finally:
        for file in files.values():
            file.close()
    if not columns:
        raise ValueError("`examples` must hold at least one example. Received: none.")
    for name, parts in lengths.items():
        every = np.concatenate(parts)
        if not every.all():
            raise ValueError(
                f"`encode` must give each sequence at least one token. Received: none in `{name}` "
                f"for example {int(np.argmin(every))}. Append EOS to every row."
            )
        np.save(folder / f"{name}.splits.npy", np.concatenate([[0], np.cumsum(every)]))
    (folder / "columns.json").write_text(json.dumps(columns))


def _tracer(task: Task[Any]) -> Trace:
    return cache(partial(_trace, task))


def _trace(task: Task[Any], features: tuple[str, ...]) -> Any:
    """Traces `encode` once, for batches of any size."""
    batch = {name: tf.TensorSpec([None], tf.string) for name in features}
    return tf.function(task.encode, autograph=False).get_concrete_function(batch)


def _encode(encode: Any, batch: Tensors, begin: int) -> Any:
    """Encodes a batch, whose rows are counted from `begin`, and names the first that is refused."""
    try:
        return encode(batch)
    except tf.errors.InvalidArgumentError as error:
        if (refused := _first_refused(encode, batch, begin)) is None:
            raise
        raise refused from error


def _first_refused(encode: Any, batch: Tensors, begin: int) -> EncodingError | None:
    """Finds the first example that is refused in a batch, whose rows are counted from `begin`."""
    for place in range(len(next(iter(batch.values())))):
        try:
            encode({name: values[place : place + 1] for name, values in batch.items()})
        except tf.errors.InvalidArgumentError as error:
            if refused := refusal(error):
                return EncodingError(begin + place, str(refused))
    return None


def _open(folder: Path, name: str, description: dict[str, Any]) -> Column:
    values = np.memmap(folder / f"{name}.values", dtype=description["dtype"], mode="r")
    splits = folder / f"{name}.splits.npy"
    return Column(
        values.reshape(-1, *description["shape"]), np.load(splits) if splits.exists() else None
    )

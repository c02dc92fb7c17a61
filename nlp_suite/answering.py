"""Between raw examples and tensors: batches in, readable predictions out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any

import tensorflow as tf

from nlp_suite.datasets import Example
from nlp_suite.errors import UserError

Tensors = dict[str, Any]
"""Tensors by feature name; sequences of one batch are ragged until the feed pads them."""
Prediction = dict[str, Any]
"""What a model says of one example, as plain Python values."""

WINDOW = 32
"""Batches of texts that are read ahead and sorted by length."""
AT_ONCE = 2
"""Batches answered side by side, for two cores are all that can be taken for granted; the small
products of a recurrence keep one busy."""
PIECES = re.compile(r"\w{1,10}|[^\w\s]")
"""Words, or parts of long ones, and punctuation marks."""
MOST_BYTES = 2**18
"""Bytes of the texts that are answered together, each counted as long as the longest of them: one
of 20,000 characters among many short ones would take gigabytes of padding."""
ASSERTION = "assertion failed: ["


def batches(
    examples: Iterable[Example], batch_size: int, features: tuple[str, ...] | None = None
) -> Iterator[Tensors]:
    """Groups raw examples into tensors.

    Args:
        examples: Raw examples.
        batch_size: Examples a batch; the last one may be smaller.
        features: The features to keep; all of the first example's by default.

    Yields:
        `string [batch]` for each feature.

    Example:
        >>> [b["text"].shape[0] for b in batches([{"text": "a"}, {"text": "b"}, {"text": "c"}], 2)]
        [2, 1]
    """
    iterator = iter(examples)
    while rows := list(islice(iterator, batch_size)):
        names = features or tuple(rows[0])
        yield {name: tf.constant([row[name] for row in rows]) for name in names}


def answers(
    answer: Callable[[Tensors], Mapping[str, Any]],
    examples: Iterable[Example],
    features: tuple[str, ...],
    batch_size: int,
) -> Iterator[Prediction]:
    """Answers raw examples batch by batch, texts of like length together, for the least padding.

    Args:
        answer: From `string [batch]` for each feature to tensors with the batch as first axis. It
            is called from several threads at once.
        examples: Raw examples.
        features: What of them is answered.
        batch_size: Examples answered together.

    Yields:
        For each example its outputs as plain Python values, in the order of the examples.

    Raises:
        UserError: The graph refuses an example, such as an image that is damaged.

    Example:
        >>> def shout(batch):
        ...     return {"text": tf.strings.upper(batch["text"]) + f", {len(batch['text'])} at once"}
        >>> texts = [{"text": "so very good"}, {"text": "bad"}, {"text": "so bad"}]
        >>> [prediction["text"] for prediction in answers(shout, texts, ("text",), 2)]
        ['SO VERY GOOD, 1 at once', 'BAD, 2 at once', 'SO BAD, 2 at once']
    """
    iterator = iter(examples)
    first = list(islice(iterator, 1))
    has_text = any(isinstance(example[name], str) for example in first for name in features)
    # Images are not read ahead: they are large, and all the same work.
    ahead = batch_size * WINDOW if has_text else batch_size
    iterator = chain(first, iterator)
    while window := list(islice(iterator, ahead)):
        order = sorted(range(len(window)), key=lambda place: _length(window[place], features))
        groups = _groups([window[place] for place in order], batch_size, features)
        batched = [next(batches(group, len(group), features)) for group in groups]
        predictions = dict(zip(order, _side_by_side(answer, batched), strict=True))
        yield from (predictions[place] for place in range(len(window)))


def _groups(
    examples: Sequence[Example], batch_size: int, features: tuple[str, ...]
) -> Iterator[list[Example]]:
    """Cuts examples into batches, smaller ones where texts are long."""
    texts = [name for name in features if name != "image"]
    group: list[Example] = []
    longest = 0
    for example in examples:
        length = sum(_bytes(example[name]) for name in texts)
        padded = (len(group) + 1) * max(longest, length)
        if group and (len(group) == batch_size or padded > MOST_BYTES):
            yield group
            group, longest = [], 0
        group.append(example)
        longest = max(longest, length)
    yield group


def _bytes(text: str | bytes) -> int:
    return len(text.encode() if isinstance(text, str) else text)


def _side_by_side(
    answer: Callable[[Tensors], Mapping[str, Any]], batched: Sequence[Tensors]
) -> list[Prediction]:
    """Answers batches, some of them at once; one that is alone waits for no thread to start."""

    def predictions(batch: Tensors) -> list[Prediction]:
        try:
            return list(readable(answer(batch)))
        except tf.errors.InvalidArgumentError as error:
            if (refused := refusal(error)) is None:
                raise
            raise refused from error

    if len(batched) == 1:
        return predictions(*batched)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(chain.from_iterable(pool.map(predictions, batched)))


def refusal(error: tf.errors.InvalidArgumentError) -> UserError | None:
    """Tells what a graph refused, if it was an input, in the line that says why.

    Args:
        error: What the graph raised.

    Returns:
        What to tell the user; None for a fault of the program, such as an index out of range.

    Example:
        >>> @tf.function
        ... def refuse(input):
        ...     tf.debugging.Assert(input != "bad", ["No."])
        >>> try:
        ...     refuse(tf.constant("bad"))
        ... except tf.errors.InvalidArgumentError as error:
        ...     print(refusal(error))
        No.
    """
    before, _, where = str(error).partition("\n\t [[")
    line = before.splitlines()[-1].rpartition("}} ")[2]
    if line.startswith(ASSERTION):
        return UserError(line.removeprefix(ASSERTION).removesuffix("]"))
    if "DecodeImage" in where:
        return UserError(f"`image` must be whole, so that it can be decoded. Received: {line}.")
    return None


def _length(example: Example, features: tuple[str, ...]) -> int:
    """Counts pieces, of which a text has about as many as tokens.

    Characters say less of the padding; the bytes of an image say nothing of the work it makes.
    """
    values = (example[name] for name in features)
    return sum(len(PIECES.findall(value)) for value in values if isinstance(value, str))


def readable(outputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Turns a batch of outputs into one prediction an example.

    Args:
        outputs: Tensors with the batch as their first axis.

    Yields:
        For each example its outputs as plain Python values, bytes decoded as UTF-8, and None in the
        place of numbers that are not finite.

    Example:
        >>> list(readable({"label": tf.constant(["good"]), "scores": tf.constant([[0.25, 0.75]])}))
        [{'label': 'good', 'scores': [0.25, 0.75]}]
        >>> list(readable({"log_probability": tf.constant([float("-inf")])}))
        [{'log_probability': None}]
    """
    columns = {name: _decode(values.numpy().tolist()) for name, values in outputs.items()}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _decode(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON knows no infinity, such as the log-probability of what there is not.
    return value

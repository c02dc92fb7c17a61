"""Between raw examples and tensors: batches in, readable predictions out."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, TypeVar

import tensorflow as tf

from nlp_suite.datasets import Example
from nlp_suite.errors import UserError

Tensors = dict[str, Any]
"""Tensors by feature name; sequences of one batch are ragged until the feed pads them."""
Prediction = dict[str, Any]
"""What a model says of one example, as plain Python values."""
Item = TypeVar("Item")
Result = TypeVar("Result")

WINDOW = 32
"""Batches of texts that are read ahead and sorted by length."""
AT_ONCE = 3
"""Batches answered side by side: two cores are all that can be taken for granted, the small
products of a recurrence keep one busy, and one more batch is there when one of two waits."""
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
        yield {name: tf.constant([to_bytes(row[name]) for row in rows]) for name in names}


def to_bytes(value: str | bytes) -> bytes:
    r"""Gives the UTF-8 of a text; half a surrogate pair, as of an emoji cut in two, is U+FFFD.

    Example:
        >>> to_bytes("so \ud83d").decode(), to_bytes("so \ud83d\ude00") == "so \U0001f600".encode()
        ('so \ufffd', True)
    """
    if isinstance(value, bytes):
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


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
        UserError: The graph refuses an example, such as an image that is damaged. What `examples`
            itself raises comes after the answers to those before.

    Example:
        >>> def shout(batch):
        ...     return {"text": tf.strings.upper(batch["text"]) + f", {len(batch['text'])} at once"}
        >>> texts = [{"text": "so very good"}, {"text": "bad"}, {"text": "so bad"}]
        >>> [prediction["text"] for prediction in answers(shout, texts, ("text",), 2)]
        ['SO VERY GOOD, 1 at once', 'BAD, 2 at once', 'SO BAD, 2 at once']
    """
    # Images are not read far ahead: they are large, and all the same work. Nor is who types one
    # text after the other.
    window = AT_ONCE if "image" in features else WINDOW
    ahead = 1 if batch_size == 1 else batch_size * window

    def predictions(batch: Tensors) -> list[Prediction]:
        try:
            return list(readable(answer(batch)))
        except tf.errors.InvalidArgumentError as error:
            if (refused := refusal(error)) is None:
                raise
            raise refused from error

    for rows in _windows(examples, ahead):
        order = sorted(range(len(rows)), key=lambda place: _length(rows[place], features))
        groups = _groups([rows[place] for place in order], batch_size, features)
        batched = (next(batches(group, len(group), features)) for group in groups)
        given = chain.from_iterable(side_by_side(predictions, batched))
        found = dict(zip(order, given, strict=True))
        yield from (found[place] for place in range(len(rows)))


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], at_once: int = AT_ONCE
) -> Iterator[Result]:
    """Computes a function of each item, of some at the same time, and reads no item too early.

    Args:
        function: Is called from several threads.
        items: What of; one more is read than are at work.
        at_once: Threads.

    Yields:
        The results in the order of the items.

    Example:
        >>> list(side_by_side(len, ["a", "bcd", ""]))
        [1, 3, 0]
    """
    remaining = iter(items)
    ahead = list(islice(remaining, 2))
    if len(ahead) < 2:  # which waits for no thread to start
        yield from map(function, ahead)
        return
    with ThreadPoolExecutor(at_once) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in chain(ahead, remaining):
            waiting.append(pool.submit(function, item))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _windows(examples: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """Cuts examples into lists; of an iterator that fails, the last one has those before."""
    window: list[Example] = []
    try:
        for example in examples:
            window.append(example)
            if len(window) == size:
                yield window
                window = []
    except UserError:
        if window:
            yield window
        raise
    if window:
        yield window


def _groups(
    examples: Sequence[Example], batch_size: int, features: tuple[str, ...]
) -> Iterator[list[Example]]:
    """Cuts examples into batches, smaller ones where texts are long."""
    texts = [name for name in features if name != "image"]
    group: list[Example] = []
    longest = 0
    for example in examples:
        length = sum(len(to_bytes(example[name])) for name in texts)
        padded = (len(group) + 1) * max(longest, length)
        if group and (len(group) == batch_size or padded > MOST_BYTES):
            yield group
            group, longest = [], 0
        group.append(example)
        longest = max(longest, length)
    yield group


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
    texts = (to_bytes(example[name]) for name in features if name != "image")
    return sum(len(PIECES.findall(text.decode("utf-8", "replace"))) for text in texts)


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

"""Our training on made-up data, of which every size can be chosen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np

from benchmarks.speed.ours import make_task, train_steps
from nlp_suite import devices
from nlp_suite.encoded import Column, Encoded
from nlp_suite.encoding import encode_splits
from nlp_suite.feed import Feed, StreamFeed, make_feeds
from nlp_suite.step import Learner
from nlp_suite.task import Task
from nlp_suite.text import SPECIALS, WordTokenizer

WARM_UP, STEPS = 3, 10
BLOCK = 10_000
"""Rows that differ; files repeat them."""
WORDS_IN_A_ROW = 12


class SyntheticLanguageModel:
    """Trains the language model on random tokens."""

    def tokens_per_second(self, length: int, batch_size: int, vocabulary: int) -> float:
        """Measures a few steps.

        Args:
            length: Tokens of a window.
            batch_size: Windows of a batch.
            vocabulary: Different tokens.
        """
        task = make_task("language_modeling", bptt=length, batch_size=batch_size, tokenizer="word")
        words = (f"w{i}" for i in range(vocabulary - len(SPECIALS)))
        task.tokenizers = {"text": WordTokenizer((*SPECIALS, *words))}
        count = (WARM_UP + STEPS) * length * batch_size
        tokens = np.random.default_rng(0).integers(len(SPECIALS), vocabulary, count, np.int32)
        column = Column(tokens, np.array([0, count]))
        feed = StreamFeed(Encoded({"tokens": column}, column), streams=batch_size, bptt=length)
        return _tokens_per_second(task, feed)


class StreamedRows:
    """Trains sentiment analysis on a file of so many rows.

    Args:
        rows: Rows of the training split.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def run(self) -> tuple[float, float]:
        """Writes the file, encodes it and takes a few steps.

        Returns:
            The seconds until the first step, from reading the first row on, and the tokens a second
            in training.
        """
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder, "data")
            write_rows(data, self.rows)
            began = perf_counter()
            task = make_task("sentiment", data=str(data), embeddings="none")
            task.tokenizers = task.learn_tokenizers(task.examples("train"))
            splits = encode_splits(task, Path(folder, "encoded"))
            seconds = perf_counter() - began
            feed = make_feeds(task, splits, task.config.batch_size).train
            return seconds, _tokens_per_second(task, feed)


def write_rows(folder: Path, rows: int) -> None:
    """Writes a data set of random words; validation and test are short.

    Args:
        folder: Where the files of the three splits go.
        rows: Rows of the training split.
    """
    folder.mkdir()
    for split, count in {"train": rows, "validation": 100, "test": 100}.items():
        block = list(_random_rows(split, min(count, BLOCK)))
        with (folder / f"{split}.tsv").open("w", encoding="utf-8") as file:
            file.write("text\tlabel\n")
            for begin in range(0, count, BLOCK):
                file.writelines(block[: count - begin])


def _random_rows(split: str, count: int) -> Iterator[str]:
    generator = np.random.default_rng(len(split))
    for words in generator.zipf(1.3, (count, WORDS_IN_A_ROW)) % 20_000:
        label = "even" if words[0] % 2 == 0 else "odd"
        yield f"{split} {' '.join(f'w{word}' for word in words)}\t{label}\n"


def _tokens_per_second(task: Task[Any], feed: Feed) -> float:
    chosen = devices.configure(task.config)
    keras.utils.set_random_seed(0)
    with chosen.scope():
        learner = Learner(task, task.build_model(), task.config, feed.streams)
        train_steps(learner, feed, 0, 0, WARM_UP)
        done = train_steps(learner, feed, 0, WARM_UP, STEPS)
    return done.tokens / done.seconds

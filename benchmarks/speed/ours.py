"""This project as a contender: the tasks with their defaults, trained as `train` does it."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import keras

from benchmarks.speed.contender import Round
from benchmarks.speed.stopwatch import Stopwatch
from benchmarks.speed.workloads import Column, Workload, count_tokens
from nlp_suite import devices
from nlp_suite.encoded import Column as EncodedColumn
from nlp_suite.encoding import encode_splits
from nlp_suite.feed import Feed, make_feeds
from nlp_suite.step import Learner
from nlp_suite.task import Task
from nlp_suite.text import load_tokenizer, save_tokenizer


def make_task(name: str, folder: Path | None = None, **settings: Any) -> Task[Any]:
    """Makes a task of tasks/.

    Args:
        name: Its name.
        folder: What `prepare` wrote, for the tokenizers; None for none.
        **settings: Settings that are not to have their defaults.
    """
    task_class = import_module(f"tasks.{name}.task").TASK
    files = sorted((folder / "tokenizers").glob("*.json")) if folder else []
    return task_class(
        task_class.config_class(**settings), {file.stem: load_tokenizer(file) for file in files}
    )


class Machine:
    """What everything is measured on."""

    def name(self) -> str:
        """Names the processor, its cores and its instructions."""
        return devices.cpu_name()


class Preparation:
    """Learns a task's tokenizers and encodes its builtin examples, once for all contenders.

    Args:
        name: The task's name.
        folder: Where they go.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.task = make_task(name)
        self.folder = folder

    def run(self) -> None:
        """Writes the tokenizers, the encoded examples and the workload."""
        task = self.task
        task.tokenizers = task.learn_tokenizers(task.examples("train"))
        (self.folder / "tokenizers").mkdir(parents=True)
        for name, tokenizer in task.tokenizers.items():
            save_tokenizer(tokenizer, self.folder / "tokenizers" / f"{name}.json")
        encoded = encode_splits(task, self.folder / "encoded").train
        Workload(
            name=task.name,
            settings=dataclasses.asdict(task.config),
            vocabularies={name: t.vocabulary_size for name, t in task.tokenizers.items()},
            inputs={name: _column(column) for name, column in encoded.inputs.items()},
            targets=_column(_classes(encoded.targets)),
        ).save(self.folder)


class OurTraining:
    """Trains a task with its defaults.

    Args:
        folder: What `Preparation` wrote.
    """

    def __init__(self, folder: Path) -> None:
        task = make_task(Workload.load(folder).name, folder)
        self.devices = devices.configure(task.config)
        keras.utils.set_random_seed(task.config.seed)
        with self.devices.scope():
            splits = encode_splits(task, folder / "encoded")
            self.feed = make_feeds(task, splits, task.config.batch_size).train
            network = task.build_model()
            task.initialize(network)
            task.remember(network, splits.train)
            self.learner = Learner(task, network, task.config, self.feed.streams)
            self.learner.begin(0)
        self.epoch = self.step = 0

    def train(self, steps: int) -> Round:
        """Goes on for so many steps, into the next epoch where one ends."""
        tokens, seconds, loss, processor_seconds = 0, 0.0, 0.0, 0.0
        while steps:
            count = min(steps, self.feed.steps(self.epoch) - self.step)
            with self.devices.scope():
                done = train_steps(self.learner, self.feed, self.epoch, self.step, count)
            tokens, seconds, loss = tokens + done.tokens, seconds + done.seconds, done.loss
            processor_seconds += done.processor_seconds
            steps -= count
            self._advance(count)
        return Round(tokens, seconds, loss, processor_seconds)

    def _advance(self, count: int) -> None:
        self.step += count
        if self.step == self.feed.steps(self.epoch):
            self.epoch, self.step = self.epoch + 1, 0
            self.learner.forget()


class _Stopwatch(Stopwatch):
    """Sets the rate before each step, as the training loop does."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        self.model.optimizer.learning_rate = self.rate


def train_steps(learner: Learner, feed: Feed, epoch: int, first: int, count: int) -> Round:
    """Takes some steps of an epoch, as the training loop does.

    Args:
        learner: What is trained.
        feed: Its batches.
        epoch: The epoch.
        first: The first step.
        count: How many steps, at most to the end of the epoch.
    """
    watch = _Stopwatch(learner.config.learning_rate)
    dataset = feed.dataset(epoch, first).take(count)
    learner.fit(dataset, callbacks=[watch], shuffle=False, verbose=0)
    batches = islice(feed.batches(epoch, first), count)
    tokens = sum(count_tokens(inputs) for inputs, _ in batches)
    return Round(tokens, watch.seconds, watch.loss, watch.processor_seconds)


def _classes(targets: EncodedColumn) -> EncodedColumn:
    """Takes the most probable class where targets are probabilities, for the others learn that."""
    if targets.values.dtype.kind != "f":
        return targets
    return EncodedColumn(targets.values.argmax(axis=1).astype("int32"))


def _column(column: EncodedColumn) -> Column:
    return Column(column.values, column.splits)

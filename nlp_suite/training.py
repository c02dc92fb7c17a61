"""The one training loop: it trains every task, and knows none of them.

Keras's `fit` runs each epoch; this module decides what comes between epochs and steps: validation,
keeping the best weights, stopping, checkpoints, and going on exactly where a run was killed. All
that a run has to remember is in `Progress` and in the variables of the learner.
"""

from __future__ import annotations

import dataclasses
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras

from nlp_suite.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from nlp_suite.config import Config, StreamConfig
from nlp_suite.datasets import Example
from nlp_suite.encoded import Encoded, encode_examples, fingerprint
from nlp_suite.errors import UserError
from nlp_suite.feed import Feed, ShuffledFeed, StreamFeed
from nlp_suite.optimization import make_optimizer, make_schedule
from nlp_suite.runs import WEIGHTS, Run, open_run, save_summary, save_weights
from nlp_suite.step import Learner
from nlp_suite.task import Task
from nlp_suite.watching import Watch, duration, write_history


@dataclasses.dataclass
class Progress:
    """What a run remembers besides its variables; saved with every checkpoint.

    Attributes:
        data: Fingerprint of the training examples.
        epoch: Number of the epoch under way, from 0.
        step: Batches of it that are done.
        updates: Batches done in all.
        seconds: Time spent, over all sittings.
        rate_factor: What the schedule's rate is multiplied with.
        best: The best validation score so far.
        best_epoch: The epoch that reached it, from 1.
        bad_epochs: Epochs since then.
        setbacks: Times that the run diverged and went back.
        sample: Validation examples that are scored; 0 until it has been measured.
        history: A row of metrics for each epoch.
    """

    data: str
    epoch: int = 0
    step: int = 0
    updates: int = 0
    seconds: float = 0.0
    rate_factor: float = 1.0
    best: float | None = None
    best_epoch: int = 0
    bad_epochs: int = 0
    setbacks: int = 0
    sample: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


class Diverged(Exception):  # noqa: N818 - an event that the loop handles, not an error
    """The loss is no number any more, or far above where it began."""


def train(task: Task[Any], run_dir: Path) -> Run:
    """Trains a task, or goes on with a run that was interrupted, or says that it has ended.

    Args:
        task: The task with its settings; tokenizers are learned unless it has them.
        run_dir: The run's folder.

    Returns:
        How it went.

    Raises:
        UserError: When the folder holds another run, or the loss keeps diverging.
    """
    keras.utils.set_random_seed(task.config.seed)
    open_run(task, run_dir, {})
    return Loop(task, run_dir).run()


def reason_to_stop(config: Config, progress: Progress) -> str:
    """Says why a run has ended, or nothing when it has not.

    Example:
        >>> reason_to_stop(Config(epochs=2), Progress(data="", epoch=2))
        'all 2 epochs are done'
    """
    if progress.epoch >= config.epochs:
        return f"all {config.epochs} epochs are done"
    if config.patience and progress.bad_epochs >= config.patience:
        return f"validation has not improved for {progress.bad_epochs} epochs"
    if config.max_minutes and progress.seconds >= 60 * config.max_minutes:
        return f"the {config.max_minutes:g} minutes are used up"
    return ""


class Loop:
    """A run under way.

    Args:
        task: The task with its tokenizers.
        run_dir: The run's folder.
    """

    def __init__(self, task: Task[Any], run_dir: Path) -> None:
        self.task = task
        self.config: Config = task.config
        self.run_dir = run_dir
        self.watch = Watch(run_dir)
        self.train_feed, self.validation_feed, data = make_feeds(task, run_dir)
        self.network = task.build_model()
        streams = self.train_feed.streams if isinstance(self.train_feed, StreamFeed) else 0
        self.learner = Learner(task, self.network, self.config, streams)
        self.learner.compile(optimizer=make_optimizer(self.config), jit_compile=False)
        self.learner.optimizer.build(self.learner.trainable_variables)
        steps = self.config.epochs * self.train_feed.steps(0)
        self.schedule = make_schedule(self.config, steps)
        self.progress = Progress(data=data)
        self.resumed_metrics: dict[str, Any] = {}
        self.started = time.monotonic()
        self.saved_at = time.monotonic()

    def run(self) -> Run:
        """Trains until there is a reason to stop."""
        checkpoint = latest_checkpoint(self.run_dir / "checkpoints")
        if checkpoint is None:
            self.save(self.arrays())
        else:
            self.restore(checkpoint)
        while not reason_to_stop(self.config, self.progress):
            try:
                self._epoch()
            except Diverged as event:
                self._go_back(str(event))
        return self._finish()

    def rate(self) -> float:
        """Gives the learning rate of the next update."""
        return self.schedule(self.progress.updates) * self.progress.rate_factor

    def seconds(self) -> float:
        """Gives the time spent so far, over all sittings."""
        return self.progress.seconds + time.monotonic() - self.started

    def arrays(self) -> dict[str, Any]:
        """Copies all variables: weights, seeds, carried state, optimizer, averages, metrics."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def save(self, arrays: dict[str, Any]) -> None:
        """Writes a checkpoint of these variables and the present progress."""
        self.progress.seconds = self.seconds()
        self.started = self.saved_at = time.monotonic()
        save_checkpoint(
            self.run_dir / "checkpoints",
            self.progress.updates,
            arrays,
            dataclasses.asdict(self.progress),
            attach=self.run_dir / WEIGHTS,
            keep=self.config.keep_checkpoints,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Sets everything to what it was at a checkpoint."""
        progress = Progress(**checkpoint.state)
        if progress.data != self.progress.data:
            raise UserError(
                "`data` must be what the run was begun with. Received: "
                f"data={self.config.data}, whose training examples have changed since. "
                "Give another --run-dir to begin anew."
            )
        self.progress = progress
        self.started = time.monotonic()
        for name, variable in self._variables().items():
            variable.assign(checkpoint.arrays[name])
        self.resumed_metrics = {
            n: a for n, a in checkpoint.arrays.items() if n.startswith("metric")
        }

    def resume_metrics(self) -> None:
        """Goes on with the means of an epoch that was entered half way, once `fit` has reset them."""
        variables = self._variables()
        for name, value in self.resumed_metrics.items():
            variables[name].assign(value)
        self.resumed_metrics = {}

    def _variables(self) -> dict[str, keras.Variable]:
        average = self.learner.average
        groups = {
            "model": self.learner.variables,
            "optimizer": self.learner.optimizer.variables,
            "average": average.variables if average else [],
            "metric": [v for metric in self.learner.metrics for v in metric.variables],
        }
        return {f"{name}/{i}": v for name, group in groups.items() for i, v in enumerate(group)}

    def _epoch(self) -> None:
        """Trains an epoch, or the rest of one, and looks at how good the network has become."""
        progress, feed = self.progress, self.train_feed
        epoch = progress.epoch
        if not progress.step:
            self.learner.forget()
        dataset = feed.dataset(epoch, progress.step)
        self.learner.fit(
            dataset,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=[_Steps(self)],
            shuffle=False,
            verbose=0,
        )
        metrics = {m.name: float(m.result()) for m in self.learner.metrics[:2]}
        if not math.isfinite(metrics["loss"]):
            raise Diverged("the loss is not a number")
        is_complete = progress.step >= feed.steps(epoch)
        if is_complete:
            progress.epoch, progress.step = epoch + 1, 0
        arrays = self.arrays()
        with self.learner.average.applied() if self.learner.average else nullcontext():
            metrics |= self._validate()
            self._keep_if_best(metrics, epoch + 1)
        self._record(epoch + 1, metrics)
        self.save(arrays)

    def _validate(self) -> dict[str, float]:
        """Measures the validation split: its loss and quick metrics, and the task's own score."""
        self.learner.forget()
        dataset = self.validation_feed.dataset(0)
        measured = self.learner.evaluate(dataset, return_dict=True, verbose=0)
        if self.task.monitor not in measured:
            measured |= self.task.score(self.network, self._sample())
        return {f"val_{name}": float(value) for name, value in measured.items()}

    def _sample(self) -> list[Example]:
        return list(self.task.examples("validation"))[:200]

    def _keep_if_best(self, metrics: dict[str, float], epoch: int) -> None:
        progress = self.progress
        score = metrics[f"val_{self.task.monitor}"]
        sign = 1 if self.task.higher_is_better else -1
        if progress.best is None or sign * score > sign * progress.best:
            progress.best, progress.best_epoch, progress.bad_epochs = score, epoch, 0
            save_weights(self.network, self.run_dir)
        else:
            progress.bad_epochs += 1
            if self.config.schedule == "plateau":
                if progress.bad_epochs % self.config.plateau_patience == 0:
                    progress.rate_factor /= 2

    def _record(self, epoch: int, metrics: dict[str, float]) -> None:
        """Adds a row to the history and prints it."""
        progress = self.progress
        row = {
            "epoch": epoch,
            "updates": progress.updates,
            "minutes": round(self.seconds() / 60, 3),
            "learning_rate": self.rate(),
            **metrics,
        }
        progress.history.append(row)
        write_history(self.run_dir / "history.csv", progress.history)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self.watch.say(
            f"epoch {epoch}/{self.config.epochs}  {shown}  {duration(self.seconds())}"
            f"{'  best' if progress.best_epoch == epoch else ''}"
        )

    def _go_back(self, reason: str) -> None:
        """Returns to the last good checkpoint with half the rate."""
        checkpoint = latest_checkpoint(self.run_dir / "checkpoints")
        if checkpoint is None or checkpoint.state["setbacks"] >= self.config.retries:
            raise UserError(
                f"`learning_rate` must suit the data: {reason}, {self.config.retries} times. "
                f"Received: learning_rate={self.config.learning_rate}. Try a tenth of it, a lower "
                "--clip-norm or --warmup-steps 1000, in another --run-dir."
            )
        self.restore(checkpoint)
        self.progress.setbacks += 1
        self.progress.rate_factor /= 2
        self.save(self.arrays())
        self.watch.say(f"{reason}: back to step {self.progress.updates} at half the rate")

    def _finish(self) -> Run:
        progress = self.progress
        reason = reason_to_stop(self.config, progress)
        best = next(row for row in progress.history if row["epoch"] == progress.best_epoch)
        run = Run(
            path=self.run_dir,
            ended=reason,
            epochs=len(progress.history),
            examples=len(self.train_feed.encoded),
            minutes=progress.seconds / 60,
            best_epoch=progress.best_epoch,
            best={name: value for name, value in best.items() if name.startswith("val_")},
        )
        save_summary(run)
        self.watch.say(
            f"ended: {reason}; best {self.task.monitor} {progress.best:.4g} "
            f"after epoch {progress.best_epoch}"
        )
        return run


class _Steps(keras.callbacks.Callback):
    """What happens at each step of a loop."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop
        feed, epoch = loop.train_feed, loop.progress.epoch
        self.steps = feed.steps(epoch)
        real, padded = feed.tokens(epoch)
        self.tokens, self.padding = real / self.steps, 1 - real / padded
        self.began = time.monotonic()
        self.first_step = loop.progress.step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self.loop.resume_metrics()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        self.model.optimizer.learning_rate = self.loop.rate()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch
        loop, progress = self.loop, self.loop.progress
        progress.step += 1
        progress.updates += 1
        self._show(float(logs["loss"]))
        if not math.isfinite(float(logs["loss"])):
            raise Diverged("the loss is not a number")
        limit = 60 * loop.config.max_minutes
        if limit and loop.seconds() >= limit:
            self.model.stop_training = True
        elif progress.step < self.steps:
            if time.monotonic() - loop.saved_at > 60 * loop.config.checkpoint_minutes:
                loop.save(loop.arrays())

    def _show(self, loss: float) -> None:
        loop, progress = self.loop, self.loop.progress
        speed = (progress.step - self.first_step) / (time.monotonic() - self.began)
        best = "" if progress.best is None else f"  best {loop.task.monitor} {progress.best:.4g}"
        loop.watch.progress(
            f"epoch {progress.epoch + 1}/{loop.config.epochs}  {progress.step}/{self.steps}  "
            f"loss {loss:.4g}{best}  {speed * self.tokens:,.0f} tokens/s  "
            f"padding {self.padding:.0%}  {duration((self.steps - progress.step) / speed)} left"
        )


def make_feeds(task: Task[Any], run_dir: Path) -> tuple[Feed, Feed, str]:
    """Encodes training and validation examples, once, and makes their feeds.

    Args:
        task: The task with its tokenizers.
        run_dir: The run's folder, where the encoded examples are kept.

    Returns:
        The training feed, the validation feed and the fingerprint of the training examples.
    """
    encoded: dict[str, Encoded] = {}
    prints = {split: fingerprint(task.examples(split)) for split in ("train", "validation")}
    for split, content in prints.items():
        folder = run_dir / "encoded" / f"{split}-{content}"
        encoded[split] = encode_examples(task, task.examples(split), folder)
    config: Config = task.config
    if task.carries_state and isinstance(config, StreamConfig):
        streams = min(config.batch_size, len(encoded["validation"].targets.values))
        return (
            StreamFeed(encoded["train"], streams=streams, bptt=config.bptt, seed=config.seed),
            StreamFeed(encoded["validation"], streams=streams, bptt=config.bptt),
            prints["train"],
        )
    sizes = {"batch_size": config.batch_size, "batch_tokens": config.batch_tokens}
    return (
        ShuffledFeed(encoded["train"], seed=config.seed, **sizes),
        ShuffledFeed(encoded["validation"], **sizes),
        prints["train"],
    )

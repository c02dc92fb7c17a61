"""The one training loop: it trains every task, and knows none of them.

Keras's `fit` runs each epoch; this module decides what comes between steps and epochs: the learning
rate, checkpoints, validation, keeping the best weights, stopping, and going on exactly where a run
was killed. All that a run has to remember is its `Progress` and the state of its `Learner`.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from nlp_suite import devices
from nlp_suite.checkpoints import Checkpoint, latest_checkpoint, save_checkpoint
from nlp_suite.encoded import Array
from nlp_suite.errors import UserError
from nlp_suite.feed import Feeds, make_feeds
from nlp_suite.interrupts import Interrupts
from nlp_suite.optimization import make_schedule
from nlp_suite.plots import learning_curves
from nlp_suite.progress import Progress
from nlp_suite.runs import (
    WEIGHTS,
    Run,
    only_here,
    open_run,
    save_summary,
    save_weights,
    trained_precision,
)
from nlp_suite.step import Learner
from nlp_suite.task import Task
from nlp_suite.transfer import build_network
from nlp_suite.validation import sample_predictions, validate
from nlp_suite.watching import Watch

SETTLED = 20
"""Steps of an epoch after which its mean loss is taken to say something."""
FAR_ABOVE = 3
"""Times the loss of the untrained network at which a run is given up as diverging."""


def train(
    task: Task[Any], run_dir: Path, on_epoch: Callable[[Progress], None] = lambda _: None
) -> Run:
    """Trains a task, or goes on with a run that was interrupted, or says that it has ended.

    Args:
        task: The task with its settings. It gets the tokenizers of the run: those it learned when
            the run began.
        run_dir: The run's folder.
        on_epoch: Called after each epoch; what it raises ends the training.

    Returns:
        How it went.

    Raises:
        UserError: When the folder holds another run, the loss keeps diverging, or a batch is too
            large for the memory.
    """
    with only_here(run_dir):
        chosen = devices.configure(task.config, trained_precision(run_dir))
        open_run(task, run_dir, dataclasses.asdict(chosen))
        watch = Watch(run_dir)
        checkpoint = latest_checkpoint(run_dir / "checkpoints")
        progress = Progress(**checkpoint.state) if checkpoint else None
        if not progress or not progress.reason_to_stop(task.config):
            watch.say(str(chosen))
            keras.utils.set_random_seed(task.config.seed)
            with chosen.scope():
                progress = Loop(task, run_dir, watch, on_epoch, checkpoint).run()
        return _finish(task, run_dir, watch, progress)


class Diverged(Exception):  # noqa: N818 - an event that the loop deals with, not an error
    """The loss is no number any more, or far above that of the untrained network."""


class Loop:
    """A run under way.

    Args:
        task: The task with its tokenizers.
        run_dir: The run's folder.
        watch: Where to tell how it goes.
        on_epoch: Called after each epoch.
        checkpoint: Where to go on from; None for the beginning.
    """

    def __init__(
        self,
        task: Task[Any],
        run_dir: Path,
        watch: Watch,
        on_epoch: Callable[[Progress], None],
        checkpoint: Checkpoint | None,
    ) -> None:
        self.task = task
        self.config = task.config
        self.run_dir = run_dir
        self.watch = watch
        self.on_epoch = on_epoch
        self.feeds: Feeds = make_feeds(task, run_dir / "encoded")
        feed = self.feeds.train
        network = build_network(task, fresh=checkpoint is None)
        self.learner = Learner(task, network, self.config, feed.streams)
        self.updates = self.config.epochs * feed.steps(0)
        self.schedule = make_schedule(self.config, self.updates)
        self.progress = Progress(data=self.feeds.fingerprint, examples=len(feed.encoded))
        self.clock = self.saved_at = time.monotonic()
        if checkpoint is None:
            self.save(self.learner.state())
        else:
            self.restore(checkpoint)

    def run(self) -> Progress:
        """Trains until there is a reason to stop, and says how far it came."""
        while not self.progress.reason_to_stop(self.config):
            try:
                self._epoch()
            except Diverged as event:
                self._go_back(str(event))
            except tf.errors.ResourceExhaustedError as error:
                raise self._too_large() from error
        return self.progress

    def rate(self) -> float:
        """Gives the learning rate of the next update."""
        self.tick()
        position = self.progress.position(self.config, self.updates)
        return self.schedule(position) * self.progress.rate_factor

    def tick(self) -> float:
        """Adds the time since the last call to the progress, and gives the sum in seconds."""
        now = time.monotonic()
        self.progress.seconds += now - self.clock
        self.clock = now
        return self.progress.seconds

    def save(self, state: dict[str, Array]) -> None:
        """Writes a checkpoint of the learner's state and the present progress.

        Raises:
            Diverged: When a weight is no number; such a state is not worth keeping.
        """
        if not all(math.isfinite(float(array.sum())) for array in state.values()):
            raise Diverged("a weight is not a number")
        self.tick()
        save_checkpoint(
            self.run_dir / "checkpoints",
            self.progress.updates,
            state,
            dataclasses.asdict(self.progress),
            attach=self.run_dir / WEIGHTS,
            keep=self.config.keep_checkpoints,
        )
        self.saved_at = time.monotonic()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Sets everything to what it was at a checkpoint.

        Raises:
            UserError: When the training examples are not those that the run was begun with.
        """
        progress = Progress(**checkpoint.state)
        if progress.data != self.progress.data:
            raise UserError(
                f"`data` must be what the run was begun with, {progress.examples} training "
                f"examples. Received: data={self.config.data}, {self.progress.examples} examples, "
                "which differ. Give another --run-dir to begin anew."
            )
        self.learner.set_state(checkpoint.arrays)
        checkpoint.detach(self.run_dir / WEIGHTS)
        self.progress, self.clock = progress, time.monotonic()

    def _epoch(self) -> None:
        """Trains an epoch, or the rest of one, and looks at how good the network is by then."""
        progress = self.progress
        epoch = progress.epoch
        self.learner.begin(epoch)
        if not progress.step:
            self.learner.forget()
        with Interrupts() as interrupts:
            self.learner.fit(
                self.feeds.train.dataset(epoch, progress.step),
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=[steps := _Steps(self, interrupts)],
                shuffle=False,
                verbose=0,
            )
        metrics = {**steps.metrics(), "learning_rate": self.rate()}
        if progress.step == steps.count:
            progress.epoch, progress.step = epoch + 1, 0
            self.learner.reset_metrics()
        passed = round(progress.epoch + progress.step / steps.count, 3)
        state = self.learner.state()
        average = self.learner.average
        with average.applied() if average else nullcontext():
            metrics |= validate(self.learner, self.feeds.validation, progress)
            self._take(metrics[f"val_{self.task.monitor}"], metrics["val_loss"], passed)
            samples = sample_predictions(self.learner)
        minutes = round(self.tick() / 60, 3)
        progress.history.append({"epoch": passed, "minutes": minutes, **metrics})
        self.watch.epoch(progress, self.config.epochs, self.task.monitor, samples)
        self.save(state)
        self.on_epoch(progress)

    def _take(self, score: float, loss: float, epoch: float) -> None:
        """Keeps the weights if they are the best so far, and else loses some patience."""
        progress, config = self.progress, self.config
        if progress.take_score(score, loss, epoch, higher_is_better=self.task.higher_is_better):
            save_weights(self.learner.network, self.run_dir)
        elif progress.bad_epochs % config.plateau_patience == 0:
            if config.schedule == "plateau":
                progress.rate_factor /= 2
            if self.learner.average:
                self.learner.average.start()

    def _go_back(self, reason: str) -> None:
        """Returns to the last good checkpoint with half the rate."""
        checkpoint = latest_checkpoint(self.run_dir / "checkpoints")
        if checkpoint is None or checkpoint.state["setbacks"] >= self.config.retries:
            raise UserError(
                f"`learning_rate` must suit the data: {reason}, at {self.rate():.2g} still. "
                f"Received: learning_rate={self.config.learning_rate}. Try a tenth of it, or "
                "--warmup-steps 1000, with another --run-dir."
            )
        self.restore(checkpoint)
        self.progress.setbacks += 1
        self.progress.rate_factor /= 2
        self.save(self.learner.state())
        self.watch.say(f"{reason}: back to step {self.progress.updates}, at half the rate")

    def _too_large(self) -> UserError:
        feed, progress = self.feeds.train, self.progress
        inputs, targets = next(feed.batches(progress.epoch, progress.step))
        shapes = ", ".join(
            f"{n} {list(t.shape)}" for n, t in {**inputs, "targets": targets}.items()
        )
        return UserError(
            f"`batch_size` must fit the memory, and a batch of {shapes} does not. Received: "
            f"batch_size={self.config.batch_size}. Pass --micro-batches "
            f"{2 * self.config.micro_batches} for the same training in less memory, or a smaller "
            "--batch-size with another --run-dir."
        )


class _Steps(keras.callbacks.Callback):
    """What a loop does at each step of an epoch."""

    def __init__(self, loop: Loop, interrupts: Interrupts) -> None:
        super().__init__()
        self.loop = loop
        self.interrupts = interrupts
        feed, self.epoch = loop.feeds.train, loop.progress.epoch
        self.first = loop.progress.step
        self.count = feed.steps(self.epoch)
        real, padded = feed.tokens(self.epoch)
        self.tokens, self.padding = real / self.count, 1 - real / padded
        self.began = time.monotonic()
        self.logs: dict[str, Any] = {}

    def metrics(self) -> dict[str, float]:
        """Gives the means over the epoch so far."""
        means = {name: float(value) for name, value in self.logs.items()}
        return {**means, "tokens_per_second": round(self._speed() * self.tokens)}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        del batch, logs
        loop, progress = self.loop, self.loop.progress
        scale = loop.feeds.train.rate_scale(progress.epoch, progress.step)
        self.model.optimizer.learning_rate = loop.rate() * scale

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        del batch
        loop, progress = self.loop, self.loop.progress
        self.logs = logs or {}
        progress.step += 1
        progress.updates += 1
        self._check(float(self.logs["loss"]))
        limit = 60 * loop.config.max_minutes
        if limit and loop.tick() >= limit:
            self.model.stop_training = True
        elif progress.step < self.count and self._is_time_to_save():
            loop.save(loop.learner.state())
        self.interrupts.obey()

    def _check(self, loss: float) -> None:
        """Looks whether the run goes well, and shows where it is."""
        loop, progress = self.loop, self.loop.progress
        progress.initial_loss = progress.initial_loss or loss
        if not math.isfinite(loss):
            raise Diverged("the loss is not a number")
        if progress.step >= SETTLED and loss > FAR_ABOVE * progress.initial_loss:
            raise Diverged(f"the loss, {loss:.3g}, is far above that of the untrained network")
        left = (self.count - progress.step) / self._speed()
        loop.watch.step(progress, loss, self._speed() * self.tokens, self.padding, left)

    def _is_time_to_save(self) -> bool:
        loop = self.loop
        passed = time.monotonic() - loop.saved_at
        return self.interrupts.came or passed >= 60 * loop.config.checkpoint_minutes

    def _speed(self) -> float:
        """Steps a second in this epoch, without the first, which traces the graph."""
        done = self.loop.progress.step - self.first
        if done == 1:
            self.traced = time.monotonic()
            return 1 / (self.traced - self.began)
        return (done - 1) / (time.monotonic() - self.traced)


def _finish(task: Task[Any], run_dir: Path, watch: Watch, progress: Progress) -> Run:
    """Sums a run up, and clears away what is only needed to go on quickly."""
    reason = progress.reason_to_stop(task.config)
    best = next(row for row in progress.history if row["epoch"] == progress.best_epoch)
    run = Run(
        path=run_dir,
        ended=reason,
        epochs=progress.history[-1]["epoch"],
        examples=progress.examples,
        minutes=round(progress.seconds / 60, 2),
        best_epoch=progress.best_epoch,
        best={name: value for name, value in best.items() if name.startswith("val_")},
    )
    save_summary(run)
    learning_curves(run_dir / "history.csv", task.monitor, run_dir / "learning_curves.png")
    shutil.rmtree(run_dir / "encoded", ignore_errors=True)
    watch.say(
        f"{reason}; the best {task.monitor} is {progress.best:.4g}, after epoch "
        f"{progress.best_epoch:g}"
    )
    return run

"""How good a network is by now: its loss on the validation split and the task's own score."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from nlp_suite.cluster import Cluster
from nlp_suite.datasets import Examples
from nlp_suite.feed import Feed
from nlp_suite.progress import Progress
from nlp_suite.step import Learner
from nlp_suite.task import Task

PILOT = 32
"""Examples scored to see how long it takes."""
SHOWN = 3
"""Examples shown with their predictions."""


def validate(
    learner: Learner, feed: Feed, progress: Progress, cluster: Cluster
) -> dict[str, float]:
    """Measures the validation split.

    The task's score is taken on a sample and only when its monitor is not among the metrics that
    come with the loss. The chief takes it alone.

    Args:
        learner: The network with the loss and the metrics.
        feed: Batches of the validation split.
        progress: Holds the size of the sample; it is set at the first call.
        cluster: The processes that train together.

    Returns:
        Metrics by name, each with `val_` before it.
    """
    task = learner.task
    learner.forget()
    measured = learner.evaluate(feed.dataset(0), return_dict=True, verbose=0)
    if task.monitor not in measured:
        measured |= cluster.from_chief(lambda: _score_sample(learner, progress))
    return {f"val_{name}": float(value) for name, value in measured.items()}


def sample_predictions(learner: Learner) -> str:
    """Answers the first validation examples, to be read by people.

    Returns:
        A list in Markdown: what each example says, and what the network says to it.
    """
    task: Task[Any] = learner.task
    examples = list(islice(task.examples("validation"), SHOWN))
    answers = task.predictions(learner.network, map(task.raw_inputs, examples))
    pairs = zip(examples, answers, strict=True)
    return "\n".join(f"- {_readable(example)} → {_readable(answer)}" for example, answer in pairs)


def sample_size(learner: Learner, examples: Examples) -> int:
    """Finds how many examples can be scored in `score_seconds`, by scoring a few.

    Args:
        learner: The network as it is.
        examples: The validation split.

    Returns:
        All of them when there is time enough, else a power of two, so that a machine that is busy
        for a moment does not make another run of this one.
    """
    _score(learner, examples, 1)  # traces the graph
    began = time.monotonic()
    _score(learner, examples, PILOT)
    affordable = PILOT * learner.config.score_seconds / (time.monotonic() - began)
    if affordable >= len(examples):
        return len(examples)
    return max(PILOT, 2 ** (int(affordable).bit_length() - 1))


def _score_sample(learner: Learner, progress: Progress) -> dict[str, float]:
    examples = learner.task.examples("validation")
    if not progress.sample:
        progress.sample = sample_size(learner, examples)
    return _score(learner, examples, progress.sample)


def _readable(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in values.items() if not isinstance(v, bytes))


def _score(learner: Learner, examples: Examples, size: int) -> dict[str, float]:
    """Scores examples at even distances, for those of one kind may stand together."""
    task: Task[Any] = learner.task
    step = len(examples) / min(size, len(examples))
    wanted = {int(place * step) for place in range(size)}
    chosen = (example for place, example in enumerate(examples) if place in wanted)
    return task.score(learner.network, list(chosen))

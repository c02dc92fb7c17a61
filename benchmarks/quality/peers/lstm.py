"""Trains a PyTorch LSTM of the size of the task's own on the same stream, and measures it alike.

    python -m benchmarks.quality.peers.lstm --folder FOLDER --minutes 10

The network is that of the speed benchmark: an embedding, `nn.LSTM`, and a softmax that shares the
embedding's weights. Dropout, Adam, clipping, batch, window and the course of the learning rate are
the task's defaults. The weights with the smallest validation loss are measured.
"""

from __future__ import annotations

import copy
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.quality.report import write_report
from benchmarks.speed.pytorch_models import LanguageModel, build, to_tensors
from benchmarks.speed.workloads import Column, Workload
from nlp_suite.arguments import Argument, parse_arguments
from nlp_suite.console import import_tensorflow, orderly_exit
from tasks.language_modeling.config import LanguageModelingConfig

ARGUMENTS = (
    Argument("folder", Path, Path("saved_models/quality/pytorch"), "Where all is kept."),
    Argument("minutes", float, 10.0, "Minutes of training."),
    Argument("seed", int, 0, "Seeds weights, dropout and where each pass begins."),
)
SCHEDULE_STEPS = 10_000
"""Steps of the schedule, which is as far as the time is."""
SPLITS = ("train", "validation", "test")


def main() -> None:
    """Trains, reads the test split and writes metrics.json."""
    with orderly_exit():
        values = parse_arguments(f"python -m {__spec__.name}", __doc__, ARGUMENTS, sys.argv[1:])
        import_tensorflow()
        compare(**values)


def compare(folder: Path, minutes: float, seed: int) -> None:
    """Trains the network and measures its perplexity on the test split.

    Args:
        folder: Where metrics.json goes.
        minutes: Minutes of training.
        seed: Seeds weights, dropout and where each pass begins.
    """
    from nlp_suite.encoding import encode_examples
    from nlp_suite.feed import StreamFeed
    from tasks.language_modeling.task import TASK

    task = TASK(LanguageModelingConfig(seed=seed))
    task.tokenizers = task.learn_tokenizers(task.examples("train"))
    config, examples = task.config, {split: task.examples(split) for split in SPLITS}
    train, validation, test = (
        encode_examples(task, examples[split], folder / "encoded" / split) for split in SPLITS
    )
    torch.manual_seed(seed)
    model = new_model(config, task.writer.vocabulary_size, train)
    stream = partial(StreamFeed, bptt=config.bptt)
    learn(
        model,
        config,
        60 * minutes,
        stream(train, streams=int(config.batch_size), seed=seed),
        stream(validation, streams=int(config.batch_size)),
    )
    loss, tokens = surprise(model, stream(test, streams=1))
    outcome = {"log_probability": -loss, "tokens": tokens}
    write_report(folder, minutes, task.measure(examples["test"], [outcome]))


def new_model(config: LanguageModelingConfig, vocabulary_size: int, encoded: Any) -> LanguageModel:
    """Builds the speed benchmark's network for a stream.

    Args:
        config: The sizes.
        vocabulary_size: Tokens there are.
        encoded: The training examples.
    """
    inputs = {name: Column(c.values, c.splits) for name, c in encoded.inputs.items()}
    targets = Column(encoded.targets.values, encoded.targets.splits)
    vocabularies = {"text": vocabulary_size}
    model = build(Workload("language_modeling", asdict(config), vocabularies, inputs, targets))
    if not isinstance(model, LanguageModel):
        raise TypeError(f"`build` must give a LanguageModel. Received: {type(model)}.")
    return model


def learn(
    model: LanguageModel, config: LanguageModelingConfig, seconds: float, train: Any, check: Any
) -> None:
    """Trains until the time is up, and leaves the weights that were best at the end of a pass.

    Args:
        model: What learns.
        config: Rate, schedule and clipping.
        seconds: The time there is, validation included.
        train: The stream to learn from.
        check: The stream to validate on.
    """
    from nlp_suite.optimization import make_schedule

    rate = make_schedule(config, SCHEDULE_STEPS)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    best: tuple[float, Any] = (float("inf"), None)
    began, epoch, share = time.monotonic(), 0, 0.0
    while share < 1:
        model.train()
        model.state = None
        for inputs, targets in train.batches(epoch):
            share = (time.monotonic() - began) / seconds
            if share >= 1:
                break
            optimizer.param_groups[0]["lr"] = rate(int(share * SCHEDULE_STEPS))
            _update(model, optimizer, config.clip_norm, inputs, targets)
        epoch += 1
        loss, tokens = surprise(model, check)
        print(f"epoch {epoch}  {100 * share:.0f} %  val_loss {loss / tokens:.4f}", flush=True)
        if loss < best[0]:
            best = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best[1])


def surprise(model: LanguageModel, stream: Any) -> tuple[float, int]:
    """Reads a stream once.

    Returns:
        The sum of the losses, in nats, and how many tokens they are of.
    """
    model.eval()
    model.state = None
    total, count = 0.0, 0
    with torch.inference_mode():
        for inputs, targets in stream.batches(0):
            total += float(_loss(model, inputs, targets, reduction="sum"))
            count += targets.size
    return total, count


def _update(
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    clip_norm: float,
    inputs: dict[str, Any],
    targets: Any,
) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(_loss(model, inputs, targets, reduction="mean"))
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()


def _loss(
    model: LanguageModel, inputs: dict[str, Any], targets: Any, reduction: str
) -> torch.Tensor:
    logits = model(to_tensors(inputs)).flatten(0, 1)
    return functional.cross_entropy(
        logits, torch.from_numpy(targets).long().flatten(), reduction=reduction
    )


if __name__ == "__main__":
    main()

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_training import Killed, assert_same_run, kill_after
from tiny import TinyClassifier, TinyConfig

from nlp_suite import training
from nlp_suite.averaging import EpochWeights
from nlp_suite.progress import Progress
from nlp_suite.runs import restore
from nlp_suite.training import train

CONFIG = TinyConfig(precision="float32", epochs=4, patience=0, average_checkpoints=3)
HISTORY = [
    {"epoch": 1.0, "val_accuracy": 0.9, "val_loss": 0.4},
    {"epoch": 2.0, "val_accuracy": 0.7, "val_loss": 0.3},
    {"epoch": 3.0, "val_accuracy": 0.7, "val_loss": 0.2},
    {"epoch": 4.0, "val_accuracy": 0.6, "val_loss": 0.1},
]


def epoch_weights(folder: Path, which: Any, count: int, *, higher: bool = True) -> EpochWeights:
    config = TinyConfig(average_checkpoints=count, average_of=which)
    return EpochWeights(folder, config, "accuracy", higher_is_better=higher)


def test_the_last_or_the_best_epochs_are_chosen(tmp_path: Path) -> None:
    assert epoch_weights(tmp_path, "last", 2).chosen(HISTORY) == [3.0, 4.0]
    # Of two that score the same, the one of the smaller loss.
    assert epoch_weights(tmp_path, "best", 2).chosen(HISTORY) == [1.0, 3.0]
    assert epoch_weights(tmp_path, "best", 2, higher=False).chosen(HISTORY) == [3.0, 4.0]
    assert epoch_weights(tmp_path, "last", 9).chosen(HISTORY) == [1.0, 2.0, 3.0, 4.0]
    assert epoch_weights(tmp_path, "last", 0).chosen(HISTORY) == []


def test_the_average_is_the_mean_of_each_weight(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    weights = epoch_weights(tmp_path, "last", 2)
    for epoch, value in ((1.0, 1.0), (2.0, 3.0), (3.0, 8.0)):
        network.set_weights([np.full([1, 1], value), np.full([1], -value)])
        weights.keep(network, epoch)
    weights.prune(HISTORY[:3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.weights.h5", "3.weights.h5"]
    weights.average(network, [2.0, 3.0])
    assert [weight.tolist() for weight in network.get_weights()] == [[[5.5]], [-5.5]]


class Ranked(TinyClassifier):
    """A task whose validation score is what a test says, one after the other."""

    monitor = "rank"
    ranks: tuple[float, ...] = ()

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def score(self, model: Any, examples: Any) -> dict[str, float]:
        self.calls = getattr(self, "calls", -2) + 1  # the first call is a pilot's
        return {"rank": self.ranks[max(0, self.calls)]}


@pytest.mark.parametrize(("rank", "is_kept"), [(0.9, True), (0.7, False)])
def test_the_average_is_kept_only_if_it_is_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rank: float, is_kept: bool
) -> None:
    class Judged(Ranked):
        ranks = (0.5, 0.5, 0.8, 0.6, 0.6, rank)

    run = train(Judged(CONFIG), tmp_path)
    said = capsys.readouterr().err
    assert "the average of epochs 2, 3, 4: rank" in said
    assert ("and so kept" in said) == is_kept
    assert run.averaged == ((2.0, 3.0, 4.0) if is_kept else ())
    assert run.best["val_rank"] == (0.9 if is_kept else 0.8)
    _, model = restore(Judged, tmp_path)
    kept = model.get_weights()
    mean = EpochWeights(tmp_path / "epochs", CONFIG, "rank", higher_is_better=True)
    mean.average(model, [2.0, 3.0, 4.0])
    same = all(np.array_equal(a, b) for a, b in zip(kept, model.get_weights(), strict=True))
    assert same == is_kept


def test_an_average_survives_kills_and_longer_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, average_of="best", ema=0.5, learning_rate=0.05)
    monkeypatch.setattr(Progress, "is_best", lambda *a, **k: True)  # keeps each average
    whole = train(TinyClassifier(config), tmp_path / "whole")
    assert len(whole.averaged) == 3
    with monkeypatch.context() as patch:
        kill_after(patch, 20)
        with pytest.raises(Killed):
            train(TinyClassifier(replace(config, checkpoint_minutes=0.0)), tmp_path / "killed")
    train(TinyClassifier(replace(config, epochs=3)), tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(training, "save_summary", lambda run: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            train(TinyClassifier(config), tmp_path / "killed")
    again = train(TinyClassifier(config), tmp_path / "killed")
    assert_same_run(TinyClassifier, tmp_path / "whole", tmp_path / "killed")
    assert (again.best, again.averaged) == (whole.best, whole.averaged)

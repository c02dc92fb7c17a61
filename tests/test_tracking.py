"""Tracking with MLflow, in a database of a folder's own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_training import Killed, kill_after
from tiny import TinyClassifier, TinyConfig

from nlp_suite.errors import UserError
from nlp_suite.training import train

CONFIG = TinyConfig(precision="float32", epochs=3, patience=0)


@pytest.mark.filterwarnings("ignore")  # of the many packages that MLflow imports
def test_mlflow_knows_each_epoch_once_though_the_run_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    store = tmp_path / "store"
    config = replace(CONFIG, mlflow=str(store))
    with monkeypatch.context() as patch:
        kill_after(patch, 18)  # in the third epoch of 8 steps
        with pytest.raises(Killed):
            train(TinyClassifier(config), tmp_path / "run")
    result = train(TinyClassifier(config), tmp_path / "run")
    client = mlflow.MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert (run.data.params["units"], run.data.params["optimizer"]) == ("6", "adam")
    losses = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted(metric.step for metric in losses) == [1, 2, 3]
    best = [metric.value for metric in losses if metric.step == result.best_epoch]
    assert best == [result.best["val_loss"]]
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert names == {"config.json", "history.csv", "learning_curves.png", "summary.json"}


def test_without_mlflow_the_flag_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"`mlflow` needs MLflow.*nlp_suite\[mlflow\]"):
        train(TinyClassifier(replace(CONFIG, mlflow="store")), tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_an_address_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(UserError, match=r"`mlflow` must be the address") as refused:
        train(TinyClassifier(replace(CONFIG, mlflow="carrier://pigeon")), tmp_path)
    assert "\n" not in str(refused.value)

"""Telling an MLflow server, or a database on the disk, how a run goes: `--mlflow`."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_suite.errors import UserError
from nlp_suite.files import replace_text
from nlp_suite.progress import Progress
from nlp_suite.task import Task

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

ARTIFACTS = ("config.json", "summary.json", "history.csv", "metrics.json", "*.png", "plots/*.png")
LONGEST = 6_000
"""Characters of a parameter; MLflow refuses longer ones."""


class Tracker:
    """A run as MLflow knows it; the same one when training goes on after an interruption.

    Args:
        task: The task with its settings: `mlflow` is the address of a server, `sqlite:///FILE`, or
            a folder, which gets a database and the artifacts; nothing is tracked where it is empty.
        run_dir: The run's folder, where the run's number in MLflow is kept.
        is_chief: Whether this process tells MLflow; of several, one does.

    Raises:
        UserError: When MLflow is not installed, or cannot be reached.
    """

    def __init__(self, task: Task[Any], run_dir: Path, *, is_chief: bool = True) -> None:
        self.run_dir = run_dir
        self.address: str = task.config.mlflow if is_chief else ""
        if not self.address:
            return
        client_class, self._error = _import_mlflow(self.address)
        try:
            self.client = client_class(_store(self.address))
            self.run_id = self._open(task)
        except (self._error, ImportError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                "`mlflow` must be the address of an MLflow server, sqlite:///FILE, or a folder. "
                f"Received: mlflow={self.address}: {reason}"
            ) from error

    def epoch(self, progress: Progress) -> None:
        """Logs the rows of the history that MLflow does not know yet."""
        if not self.address:
            return
        from mlflow.entities import Metric

        try:
            known = {m.step for m in self.client.get_metric_history(self.run_id, "epoch")}
            for step, row in enumerate(progress.history, 1):
                if step not in known:
                    now = int(1000 * time.time())
                    metrics = [Metric(name, value, now, step) for name, value in row.items()]
                    self.client.log_batch(self.run_id, metrics=metrics)
        except self._error as error:
            log.warning("MLflow misses an epoch, for now: %s", str(error).partition("\n")[0])

    def end(self) -> None:
        """Logs the files that sum the run up, and its plots."""
        if not self.address:
            return
        found = {path for pattern in ARTIFACTS for path in self.run_dir.glob(pattern)}
        try:
            for path in sorted(found):
                self.client.log_artifact(self.run_id, str(path))
            self.client.set_terminated(self.run_id)
        except self._error as error:
            log.warning("MLflow misses the end: %s", str(error).partition("\n")[0])

    def _open(self, task: Task[Any]) -> str:
        """Finds the run that was begun before, or begins one."""
        path = self.run_dir / "mlflow.txt"
        if path.exists():
            address, run_id = path.read_text(encoding="utf-8").splitlines()
            if address == self.address:
                self.client.update_run(run_id, status="RUNNING")
                return run_id
        known = self.client.get_experiment_by_name(task.name)
        experiment = known.experiment_id if known else self._create_experiment(task.name)
        run_id = self.client.create_run(experiment, run_name=self.run_dir.name).info.run_id
        for name, value in dataclasses.asdict(task.config).items():
            self.client.log_param(run_id, name, str(value)[:LONGEST])
        replace_text(path, f"{self.address}\n{run_id}\n")
        return run_id

    def _create_experiment(self, name: str) -> str:
        """Makes an experiment, which keeps its artifacts beside the database in a folder."""
        folder = None if "://" in self.address else Path(self.address, "artifacts").resolve()
        location = folder.as_uri() if folder else None
        experiment: str = self.client.create_experiment(name, artifact_location=location)
        return experiment


def _store(address: str) -> str:
    """Gives the address of the database that is kept in a folder; any other address is one."""
    if "://" in address:
        return address
    Path(address).mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{Path(address, 'mlflow.db').resolve()}"


def _import_mlflow(address: str) -> tuple[type[MlflowClient], type[Exception]]:
    """Imports MLflow's client, and what it raises."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UserError(
            f"`mlflow` needs MLflow. Received: mlflow={address}, and an installation without it. "
            "Run pip install 'nlp_suite[mlflow]'."
        ) from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient, MlflowException

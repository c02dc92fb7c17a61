"""The demo, on a folder of tasks that holds the toy task alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nlp_suite.demo import Result, main, table, task_names

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with tasks/toy in it."""
    shutil.copytree(ROOT / "tests" / "toy", tmp_path / "tasks" / "toy")
    shutil.copy(ROOT / "tasks" / "__init__.py", tmp_path / "tasks")
    return tmp_path


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "nlp_suite.demo"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )


@pytest.mark.slow
def test_a_second_demo_shows_the_same_and_does_nothing_again(checkout: Path) -> None:
    first, second = demo(checkout), demo(checkout)
    steps = [line for line in first.stderr.splitlines() if line.startswith("toy: ")]
    assert steps == ["toy: train", "toy: evaluate", "toy: export"]
    assert second.stderr == ""
    assert first.stdout == second.stdout
    assert first.stdout.count("raw input  text: ") == 3
    assert first.stdout.splitlines()[-1].endswith("saved_models/toy/exported/1")


def test_tasks_are_the_folders_that_can_be_run(checkout: Path) -> None:
    (checkout / "tasks" / "notes").mkdir()
    assert task_names(checkout / "tasks") == ["toy"]


def test_an_unknown_task_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(checkout)
    with pytest.raises(SystemExit) as ended:
        main(["toi"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: no task `toi`. Did you mean `toy`?\n"


def test_the_table_sets_the_metric_beside_that_of_each_baseline(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(2_500_000))
    result = Result(
        name="toy",
        metric="accuracy",
        summary={"examples": 8_500, "minutes": 1.234},
        report={
            "data": "builtin",
            "accuracy": 0.78125,
            "baselines": {"chance": {"accuracy": 0.5}, "copy": {"accuracy": 0.25}},
        },
        exported=tmp_path,
    )
    headings, row = table([result]).splitlines()
    assert row.split() == (
        f"toy builtin 8,500 1.2 min accuracy 0.7812 chance 0.5, copy 0.25 2.5 MB {tmp_path}".split()
    )
    assert [headings.index(name) for name in ("data", "test", "export")] == [
        row.index(value) for value in ("builtin", "accuracy", str(tmp_path))
    ]

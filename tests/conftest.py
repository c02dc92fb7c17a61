"""What the tests share: a quiet TensorFlow, and a toy task that has been trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from nlp_suite.cli import main

Command = Callable[..., int]


@pytest.fixture(scope="session")
def toy() -> Command:
    """Runs the toy task's command line and returns its exit code."""

    def run(*arguments: str | Path) -> int:
        with pytest.raises(SystemExit) as ended:
            main("toy", [str(argument) for argument in arguments])
        return int(ended.value.code or 0)

    return run


@pytest.fixture(scope="session")
def toy_run(toy: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a toy run that has ended."""
    run_dir = tmp_path_factory.mktemp("toy") / "run"
    assert toy("train", "--run-dir", run_dir) == 0
    return run_dir

"""Measures what several runs of a task are worth as one model.

    python -m benchmarks.quality.together TASK --folder FOLDER --runs RUN --runs RUN ...

Their log-probabilities are averaged, as by `evaluate --ensemble`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.quality.report import write_report
from nlp_suite.application import Application
from nlp_suite.arguments import Argument, parse_arguments
from nlp_suite.console import import_tensorflow, orderly_exit
from nlp_suite.demo import read_json

ARGUMENTS = (
    Argument("task", str, None, "The task's name.", positional=True),
    Argument("folder", Path, Path("saved_models/quality/together"), "Where the report goes."),
    Argument("runs", list[str], [], "Folder of a run; to be given for each of them."),
)


def main() -> None:
    """Measures on the test split."""
    with orderly_exit():
        command = f"python -m {__spec__.name}"
        values = parse_arguments(command, __doc__, ARGUMENTS, sys.argv[1:])
        import_tensorflow()
        measure(values["task"], [Path(run) for run in values["runs"]], values["folder"])


def measure(task_name: str, runs: list[Path], folder: Path) -> None:
    """Measures runs together, and adds up their minutes of training.

    Args:
        task_name: The task's name.
        runs: Folders of runs that have ended.
        folder: Where the report goes.
    """
    from nlp_suite.evaluation import Evaluation

    first, *others = runs
    task, model = Application(f"tasks.{task_name}").restore(first, {}, [str(run) for run in others])
    report = Evaluation.of(task, model, task.examples("test")).report("test")
    minutes = sum(read_json(run / "summary.json")["minutes"] for run in runs)
    write_report(folder, minutes, report)


if __name__ == "__main__":
    main()

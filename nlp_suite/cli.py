"""The command lines: of every task, and `nlp-suite` for what was exported.

Results go to stdout, progress and errors to stderr. Nothing heavy is imported before a verb runs,
so `--help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from nlp_suite.application import Application
from nlp_suite.arguments import Argument, closest, parse_arguments
from nlp_suite.console import (
    INPUT,
    batch_size,
    import_tensorflow,
    orderly_exit,
    print_json_lines,
    raw_examples,
)
from nlp_suite.errors import UserError
from nlp_suite.verbs import TASK_VERBS

Verb = Callable[..., None]
"""Runs a command, given as it was typed, with the arguments that follow it; a task's verb is first
given the application."""


def main(package: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a task's command line and ends the process: `main(__package__)` in its `__main__.py`.

    Args:
        package: The task's package, such as `tasks.sentiment`.
        argv: The arguments; those of the process by default.

    Raises:
        SystemExit: With 0, with 2 when the user can put something right, with 130 on Ctrl-C.
    """
    app = Application(package)
    _run(f"python -m {package}", app.summary, TASK_VERBS, argv, app)


def suite_main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the `nlp-suite` command, which needs exported models and no task.

    Args:
        argv: The arguments; those of the process by default.

    Raises:
        SystemExit: With 0, with 2 when the user can put something right, with 130 on Ctrl-C.
    """
    summary = "Uses exported models, and looks at this machine."
    _run("nlp-suite", summary, (predict, serve, doctor), argv)


def predict(command: str, argv: Sequence[str]) -> None:
    """Answers each input, or each line of stdin, with one JSON object a line."""
    exported = Argument("exported", Path, None, "Folder that `export` wrote.", positional=True)
    values = parse_arguments(command, predict.__doc__, [exported, INPUT], argv)
    import_tensorflow()

    from nlp_suite.export import ExportedModel

    model = ExportedModel(values["exported"])
    examples = raw_examples(model.inputs, values["input"])
    print_json_lines(model.predictions(examples, batch_size(values["input"])))


def serve(command: str, argv: Sequence[str]) -> None:
    """Serves every exported model in a folder over HTTP."""
    arguments = [
        Argument("folder", Path, None, "Folder of exports: saved_models/", positional=True),
        Argument("host", str, "127.0.0.1", "Address to listen on; 0.0.0.0 for all."),
        Argument("port", int, 8000, "Port to listen on."),
    ]
    values = parse_arguments(command, serve.__doc__, arguments, argv)
    import_tensorflow()

    from nlp_suite.serving import serve as serve_folder

    serve_folder(**values)


def doctor(command: str, argv: Sequence[str]) -> None:
    """Says what this machine offers: versions, processors, GPUs, and how fast they train."""
    parse_arguments(command, doctor.__doc__, [], argv)
    import_tensorflow()

    from nlp_suite.devices import describe

    for line in describe():
        print(line, flush=True)


def _run(
    command: str,
    summary: str,
    verbs: Sequence[Verb],
    argv: Sequence[str] | None,
    *context: Application,
) -> NoReturn:
    """Picks the verb, runs it and ends the process."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be UTF-8
    with orderly_exit():
        _dispatch(command, summary, verbs, sys.argv[1:] if argv is None else argv, *context)
    sys.exit(0)


def _dispatch(
    command: str, summary: str, verbs: Sequence[Verb], argv: Sequence[str], *context: Application
) -> None:
    by_name = {verb.__name__: verb for verb in verbs}
    if not argv or argv[0] in ("-h", "--help"):
        print(_help(command, summary, by_name))
    elif argv[0] not in by_name:
        raise UserError(f"no verb `{argv[0]}`. {closest(argv[0], by_name)}")
    else:
        by_name[argv[0]](*context, f"{command} {argv[0]}", argv[1:])


def _help(command: str, summary: str, verbs: Mapping[str, Verb]) -> str:
    first_lines = {name: (verb.__doc__ or "").partition("\n")[0] for name, verb in verbs.items()}
    listing = "\n".join(f"  {name:<10}{line}" for name, line in first_lines.items())
    return (
        f"usage: {command} VERB [--FLAG VALUE ...]\n\n{summary}\n\n{listing}\n\n"
        f"`{command} VERB --help` lists the flags of a verb."
    )

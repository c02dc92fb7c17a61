"""On what, when and how something was measured."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("tensorflow", "keras", "torch", "scikit-learn", "sacrebleu")


def setting(command: str, cores: int, parallel: int) -> str:
    """Says under which circumstances models are trained, in a sentence for a report.

    Args:
        command: What the user typed.
        cores: Cores that each model has.
        parallel: Models trained at a time.
    """
    from nlp_suite.devices import cpu_name

    shared = f", {parallel} models at a time" if parallel > 1 else ""
    return (
        f"{cores} core{'s' * (cores > 1)} a model{shared}; {cpu_name()}; "
        f"Python {platform.python_version()}, {', '.join(_versions())}; "
        f"{datetime.now(UTC):%Y-%m-%d}; `{command}`."
    )


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found

"""What is measured outside a run, in files named as those of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from nlp_suite.files import replace_text


def write_report(folder: Path, minutes: float | None, metrics: Mapping[str, float]) -> None:
    """Writes summary.json and metrics.json.

    Args:
        folder: Where both go.
        minutes: Minutes of training; None where nothing is trained.
        metrics: What was measured, by name.
    """
    replace_text(folder / "summary.json", json.dumps({"minutes": minutes}) + "\n")
    replace_text(folder / "metrics.json", json.dumps(dict(metrics), indent=2) + "\n")

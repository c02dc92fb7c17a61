"""What the comparisons found, kept in quality.json and told in quality.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.quality.comparisons import Comparison
from benchmarks.quality.tables import Result, cell, difference, markdown, mean_minutes, settings
from nlp_suite.demo import read_json
from nlp_suite.files import replace_text

OURS = "this suite"
TOGETHER = "this suite, the seeds together"
Found = dict[str, Any]
"""One comparison: `name`, `minutes`, `metrics`, `higher_is_better`, `setting` (on what, when and by
which command it was measured), and `systems`, the results of each by name."""

HEAD = """# Quality

Written by `make quality`, which trains and measures all of this. Every number is of the test split
of the builtin data: the mean of the seeds and, after ±, their standard deviation. This suite's
settings were chosen on the validation split; test was read once a model. Peers have the same sizes
and what `peers/` says, which was tuned less; a translation memory, which this suite's translation
reads, they have none. Minutes are of training. The seeds together are one model that averages
their log-probabilities, as by `evaluate --ensemble`.

"""


def systems(ours: Iterable[Result], peers: Mapping[str, Iterable[Result]]) -> dict[str, Any]:
    """Sets our results beside those of peers and of the baselines that were measured along.

    Args:
        ours: One a seed; one of them has `baselines`.
        peers: Results by the peer's name.

    Returns:
        Results by the system's name, as many as there are so far.

    Example:
        >>> ours = [{"bleu": 22.0, "minutes": 10.0, "baselines": {"copy_source": {"bleu": 2.5}}}]
        >>> found = systems(ours, {"OpenNMT-py": [{"bleu": 20.0, "minutes": 10.0}]})
        >>> list(found), found["copy_source"]
        (['this suite', 'OpenNMT-py', 'copy_source'], [{'bleu': 2.5}])
    """
    ours = list(ours)
    baselines = {name: [b] for r in ours for name, b in r.get("baselines", {}).items()}
    plain = [{name: value for name, value in r.items() if name != "baselines"} for r in ours]
    found = {OURS: plain, **{name: list(results) for name, results in peers.items()}, **baselines}
    return {name: results for name, results in found.items() if results}


def save(folder: Path, found: Found) -> None:
    """Puts one comparison into quality.json, in place of what was there of it, and into quality.md.

    Args:
        folder: Where both files lie.
        found: The comparison.
    """
    path = folder / "quality.json"
    known = read_json(path) if path.exists() else {}
    known[f"{found['name']}, {found['minutes']:g} minutes"] = found
    replace_text(path, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    replace_text(folder / "quality.md", render(known.values()))


def render(comparisons: Iterable[Found]) -> str:
    """Writes quality.md: an overview, then a table of each comparison."""
    ordered = sorted(comparisons, key=lambda found: (found["name"], found["minutes"]))
    headings = ("task", "metric", OURS, "the best of the others", "difference", "minutes", "seeds")
    parts = [HEAD, markdown(headings, map(_overview, ordered)), *map(_section, ordered)]
    return "".join(parts)


def describe(comparison: Comparison, minutes: float, setting: str, results: Any) -> Found:
    """Makes the entry of a comparison.

    Args:
        comparison: What was compared.
        minutes: Minutes of training.
        setting: On what, when and by which command it was measured.
        results: What `systems` gave.
    """
    return {
        "name": comparison.name,
        "minutes": minutes,
        "metrics": comparison.metrics,
        "higher_is_better": comparison.higher_is_better,
        "setting": setting,
        "systems": results,
    }


def best_other(found: Found) -> str:
    """Names the best of the systems that are not ours; empty when there is none.

    Example:
        >>> best_other({"metrics": ["perplexity"], "higher_is_better": False, "systems":
        ...     {"this suite": [{"perplexity": 1}], "a": [{"perplexity": 9}, {"perplexity": 5}],
        ...      "b": [{"perplexity": 8}]}})
        'a'
    """
    metric, sign = found["metrics"][0], 1 if found["higher_is_better"] else -1

    def goodness(name: str) -> float:
        values = [result[metric] for result in found["systems"][name]]
        return sign * sum(values) / len(values)

    others = (name for name in found["systems"] if name not in (OURS, TOGETHER))
    return max(others, key=goodness, default="")


def _overview(found: Found) -> tuple[str, ...]:
    metric, results = found["metrics"][0], found["systems"]
    ours, other = results.get(OURS, []), best_other(found)
    best = f"{cell(results[other], metric)} ({other})" if other else "–"
    apart = difference(ours, results.get(other, []), metric)
    seeds = str(len(ours))
    return (found["name"], metric, cell(ours, metric), best, apart, mean_minutes(ours), seeds)


def _section(found: Found) -> str:
    rows = (
        (
            name,
            *(cell(results, metric) for metric in found["metrics"]),
            mean_minutes(results),
            str(len(results)),
        )
        for name, results in found["systems"].items()
    )
    headings = ("system", *found["metrics"], "minutes", "seeds")
    title = f"{found['name'].capitalize()}, {found['minutes']:g} minutes"
    said = settings(found["systems"].values(), found["setting"])
    return f"\n## {title}\n\n{markdown(headings, rows)}\n{said}\n"

"""Plots of runs and of what models attend to, each written as one PNG file."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlp_suite.files import write_beside
from nlp_suite.metrics import Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#8a8f98"
MOST_CLASSES_WITH_NUMBERS = 12
MOST_WORDS = 60
"""Longer texts are cut in attention plots, which could not be read."""


def learning_curves(history: Path, metrics: Sequence[str], path: Path) -> None:
    """Draws the loss and other metrics over the epochs.

    Args:
        history: A run's history.csv: a column `epoch`, one for each training metric, and one named
            `val_<metric>` for each validation metric; empty where a metric was not measured.
        metrics: What is drawn beside the loss, such as `accuracy`, where it was measured.
        path: The PNG file to write.
    """
    from matplotlib.ticker import MaxNLocator

    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    measured = [metric for metric in metrics if any(row.get(f"val_{metric}") for row in rows)]
    panels = list(dict.fromkeys(["loss", *measured]))
    figure = _figure(5 * len(panels), 3.6)
    for index, metric in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), index + 1)
        for column, label, color in (
            (metric, "training", GREY),
            (f"val_{metric}", "validation", BLUE),
        ):
            points = [(float(r["epoch"]), float(r[column])) for r in rows if r.get(column)]
            if points:
                axes.plot(*zip(*points, strict=True), ".-", color=color, label=label)
        _decorate(axes, title=metric.replace("_", " "), x="epoch")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.legend(frameon=False)
    _write(figure, path)


def learning_rates(
    rates: Sequence[float], losses: Sequence[float], suggestion: float, path: Path
) -> None:
    """Draws the loss against the learning rate that led to it.

    Args:
        rates: Learning rates, drawn on a logarithmic scale.
        losses: The loss at each.
        suggestion: The rate to mark.
        path: The PNG file to write.
    """
    figure = _figure(5, 3.6)
    axes = figure.add_subplot()
    axes.semilogx(rates, losses, color=BLUE)
    axes.axvline(suggestion, color=ORANGE, linestyle="--", label=f"suggested: {suggestion:.1e}")
    _decorate(axes, title="loss while the rate grows", x="learning rate")
    axes.legend(frameon=False)
    _write(figure, path)


def confusion_matrix(counts: Array, names: Sequence[str], path: Path) -> None:
    """Draws how often each class was taken for each other, as counts and shares of its examples.

    Args:
        counts: int [classes, classes], a row for each actual class, a column for each predicted.
        names: The name of each class.
        path: The PNG file to write.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(3.4 + 0.6 * len(names), 14)
    figure = _figure(side + 0.8, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the actual class")
    _label(axes, columns=names, rows=names)
    axes.set(xlabel="predicted", ylabel="actual")
    if len(names) <= MOST_CLASSES_WITH_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column,
                row,
                f"{counts[row, column]}\n{share:.0%}",
                ha="center",
                va="center",
                color="white" if share > 0.5 else "black",
            )
    _write(figure, path)


def calibration(measured: Calibration, path: Path) -> None:
    """Draws accuracy against confidence, and how many predictions had which confidence.

    Bars on the diagonal are right as often as they are sure. Source: Guo et al. 2017,
    https://arxiv.org/abs/1706.04599.

    Args:
        measured: The bins to draw.
        path: The PNG file to write.
    """
    bins = len(measured.count)
    edges, filled = np.arange(bins) / bins, measured.count > 0
    figure = _figure(4.6, 5.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bars = {"width": 1 / bins, "align": "edge", "edgecolor": "white"}
    above.bar(edges[filled], measured.accuracy[filled], color=BLUE, label="accuracy", **bars)
    above.plot([0, 1], [0, 1], "--", color=GREY, label="as sure as right")
    above.scatter(
        measured.confidence[filled],
        measured.accuracy[filled],
        color=ORANGE,
        zorder=3,
        label="mean confidence",
    )
    above.set(xlim=(0, 1), ylim=(0, 1))
    _decorate(above, title=f"expected calibration error {measured.expected_error:.3f}")
    above.legend(frameon=False, loc="upper left")
    below.bar(edges, measured.count, color=GREY, **bars)
    _decorate(below, x="confidence", y="predictions")
    _write(figure, path)


def attention_to_words(
    weights: Array, source: Sequence[str], target: Sequence[str], path: Path
) -> None:
    """Draws how much each generated token attended to each token of the source.

    Args:
        weights: float [target tokens, source tokens]; rows sum to one.
        source: The source's tokens.
        target: The generated ones.
        path: The PNG file to write.
    """
    source, target = source[:MOST_WORDS], target[:MOST_WORDS]
    figure = _figure(2.2 + 0.32 * len(source), 1.8 + 0.28 * len(target))
    axes = figure.add_subplot()
    shown = weights[: len(target), : len(source)]
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, label="attention", fraction=0.05, pad=0.02)
    _label(axes, columns=source, rows=target)
    _write(figure, path)


def attention_to_image(
    image: Array, weights: Array, words: Sequence[str], path: Path, columns: int = 5
) -> None:
    """Draws an image, and again for each word with light on what the word attended to.

    Args:
        image: uint8 [height, width, 3].
        weights: float [words, regions], the regions a square grid, row by row.
        words: The caption's tokens.
        path: The PNG file to write.
        columns: Pictures side by side.

    Raises:
        ValueError: If the regions are no square grid.
    """
    words = words[:MOST_WORDS]
    side = math.isqrt(weights.shape[1])
    if side**2 != weights.shape[1]:
        raise ValueError(
            "`weights` must be over a square grid of regions. "
            f"Received: weights.shape={weights.shape}."
        )
    rows = -(-(len(words) + 1) // columns)
    figure = _figure(1.9 * columns, 2.15 * rows)
    height, width = image.shape[:2]
    for index, word in enumerate(["", *words]):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.set_axis_off()
        axes.set_title(word, parse_math=False)
        axes.imshow(image)
        if index:
            grid = weights[index - 1].reshape(side, side)
            axes.imshow(
                1 - grid / max(grid.max(), 1e-9),  # darkness over what was not attended to
                cmap=_darkness(),
                vmin=0,
                vmax=1,
                extent=(-0.5, width - 0.5, height - 0.5, -0.5),
                interpolation="bilinear",
            )
    _write(figure, path)


def _darkness() -> Any:
    """Makes a colormap from see-through to nearly black."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("darkness", [(0, 0, 0, 0), (0, 0, 0, 0.85)])


def _figure(width: float, height: float) -> Figure:
    """Makes a figure, in inches, that needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _decorate(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e5e7eb")
    axes.set_axisbelow(True)


def _label(axes: Axes, *, columns: Sequence[str], rows: Sequence[str]) -> None:
    """Writes a word over each column and before each row; `$` is no formula there."""
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(columns)), columns, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.tick_params(length=0)
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="left", rotation_mode="anchor")


def _write(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG; a letter that the font lacks is drawn as a box, without a word."""
    with write_beside(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", dpi=150)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nlp_suite import metrics, plots

PNG = b"\x89PNG\r\n\x1a\n"


def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header of a PNG file."""
    header = path.read_bytes()[:24]
    assert header.startswith(PNG)
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_learning_curves_are_drawn_though_metrics_are_missing(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("epoch,loss,val_loss,val_bleu\n0.5,3.2,,\n1,2.5,2.9,1.5\n2,2.1,2.7,4.0\n")
    plots.learning_curves(history, ["bleu", "chrf"], tmp_path / "two.png")
    plots.learning_curves(history, ["loss"], tmp_path / "one.png")
    (two, height), (one, same_height) = size_of(tmp_path / "two.png"), size_of(tmp_path / "one.png")
    assert height == same_height
    assert two == 2 * one  # a panel for the loss and one for the metric, unless they are the same


@pytest.mark.parametrize("classes", [2, 30])
def test_a_confusion_matrix_is_drawn_for_few_and_for_many_classes(
    classes: int, tmp_path: Path
) -> None:
    counts = metrics.confusion_matrix([0, 1, 1], [0, 1, 0], classes)
    plots.confusion_matrix(counts, [f"class {i}" for i in range(classes)], tmp_path / "matrix.png")
    width, height = size_of(tmp_path / "matrix.png")
    assert 400 < height < width < 2500


def test_calibration_is_drawn_with_empty_bins(tmp_path: Path) -> None:
    measured = metrics.calibration([0, 1], np.array([[0.9, 0.1], [0.6, 0.4]]))
    plots.calibration(measured, tmp_path / "calibration.png")
    assert size_of(tmp_path / "calibration.png") == (690, 810)


def test_attention_is_drawn_over_any_words(tmp_path: Path) -> None:
    weights = np.full((2, 3), 1 / 3)
    words = ["$x^$", "漢字", "<eos>"]
    plots.attention_to_words(weights, words, words[:2], tmp_path / "few.png")
    long = ["word"] * 200
    plots.attention_to_words(np.full((200, 200), 0.005), long, long, tmp_path / "cut.png")
    assert size_of(tmp_path / "few.png")[0] < 700
    assert size_of(tmp_path / "cut.png")[0] < 4000


def test_attention_is_drawn_over_an_image_of_any_size(tmp_path: Path) -> None:
    image = np.zeros((30, 50, 3), np.uint8)
    weights = np.eye(6, 16)
    plots.attention_to_image(image, weights, list("abcdef"), tmp_path / "image.png", columns=4)
    assert size_of(tmp_path / "image.png") == (1140, 645)  # seven pictures in two rows of four
    with pytest.raises(ValueError, match="square grid"):
        plots.attention_to_image(image, np.eye(6, 15), list("abcdef"), tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()

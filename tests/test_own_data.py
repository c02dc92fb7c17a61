"""Each task trains on a user's own data, in the layout that its users bring, and is evaluated."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import tensorflow as tf

from nlp_suite.cli import main

pytestmark = pytest.mark.slow

TINY = ("--units", "8", "--embedding-units", "8", "--epochs", "1")
WORDS = ("fine", "good", "dull", "film", "plot", "old", "very", "quite")
COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def sentence(number: int) -> str:
    return " ".join(WORDS[(number * number + 3 * k) % len(WORDS)] for k in range(2 + number % 5))


def run(task: str, *argv: str | Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(f"tasks.{task}", [str(argument) for argument in argv])
    assert not ended.value.code


def train_and_evaluate(task: str, tmp_path: Path, *flags: str | Path) -> dict[str, float]:
    run_dir = tmp_path / "run"
    run(task, "train", "--run-dir", run_dir, *flags, *TINY)
    run(task, "evaluate", "--run-dir", run_dir, "--split", "validation")
    metrics: dict[str, float] = json.loads((run_dir / "metrics.json").read_text())
    return metrics


def test_sentiment_trains_on_the_folders_of_the_imdb_archive(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            folder = tmp_path / "aclImdb" / split / label
            folder.mkdir(parents=True)
            for number in range(80):
                text = f"{sentence(number)} {number} {label}"
                (folder / f"{number}_7.txt").write_text(text)
    metrics = train_and_evaluate(
        "sentiment", tmp_path, "--data", tmp_path / "aclImdb", "--embeddings", "none"
    )
    assert 0 <= metrics["accuracy"] <= 1
    assert {"precision_neg", "recall_pos"} <= metrics.keys()


def test_translation_trains_on_gzipped_parallel_files(tmp_path: Path) -> None:
    data = tmp_path / "pairs"
    data.mkdir()
    lines = [f"{sentence(number)} {number}" for number in range(300)]
    for language, texts in (("en", lines), ("de", [line.upper() for line in lines])):
        with gzip.open(data / f"train.{language}.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(texts) + "\n")
    flags = ("--source", "en", "--target", "de", "--vocabulary-size", "300", "--max-length", "5")
    metrics = train_and_evaluate("translation", tmp_path, "--data", data, *flags)
    assert 0 <= metrics["bleu"] <= 100


def test_language_modeling_trains_on_a_text_file(tmp_path: Path) -> None:
    file = tmp_path / "book.txt"
    file.write_text("\n\n".join(f"{sentence(number)} {number}." for number in range(300)))
    flags = ("--vocabulary-size", "300", "--batch-size", "4")
    metrics = train_and_evaluate("language_modeling", tmp_path, "--data", file, *flags)
    assert metrics["perplexity"] > 1


def test_a_language_model_of_words_starts_from_pretrained_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, vectors = tmp_path / "book.txt", tmp_path / "vectors.txt"
    file.write_text("\n\n".join(sentence(number) for number in range(300)))
    vectors.write_text("".join(f"{word} {'0.5 ' * 7}0.25\n" for word in WORDS))
    flags = ("--tokenizer", "word", "--vocabulary-size", "50", "--embeddings", vectors)
    train_and_evaluate("language_modeling", tmp_path, "--data", file, *flags)
    # Eight words and the four special tokens, which have no vector.
    assert "embeddings: vectors found for 8 of 12 words (66.7%)" in capsys.readouterr().err


def test_captioning_trains_on_a_folder_of_images_with_several_captions(tmp_path: Path) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    rows = ["image\tcaption"]
    for number in range(200):
        name, color = list(COLORS.items())[number % 3]
        pixels = tf.cast(tf.tile(tf.constant([[color]]), [20 + number % 9, 30, 1]), tf.uint8)
        tf.io.write_file(str(data / f"{number}.jpg"), tf.io.encode_jpeg(pixels))
        rows += [f"{number}.jpg\ta {name} picture", f"{number}.jpg\tsomething {name}"]
    (data / "captions.tsv").write_text("\n".join(rows) + "\n")
    flags = ("--image-encoder", "small", "--image-size", "32", "--max-length", "5")
    metrics = train_and_evaluate("captioning", tmp_path, "--data", data, *flags)
    assert 0 <= metrics["unigram_f1"] <= 1

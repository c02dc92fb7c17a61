"""The neural cache of language models, on numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nlp_suite.cli import main
from tasks.language_modeling.cache import NeuralCache, mixed


def test_a_cache_gives_each_token_its_share_of_the_like_states() -> None:
    # States along one axis, and theta = log 2, so that a place weighs 2 ** (h * h').
    states = np.array([[[1], [2], [1], [1]]], np.float32)
    tokens = np.array([[5, 6, 5, 5]])
    found = NeuralCache(3, [np.log(2)]).probabilities(states, tokens)[0, 0]
    # 6 was never seen; 5 at the third place weighs 2 against 4 of 6; then 2 + 2 of 2 + 4 + 2.
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [0, 2 / 6, 4 / 8], rtol=1e-6)


def test_a_cache_forgets_what_lies_further_back_than_its_size() -> None:
    states = np.ones([1, 4, 1], np.float32)
    tokens = np.array([[5, 6, 6, 5]])
    found = NeuralCache(2, [1.0]).probabilities(states, tokens)[0, 0]
    np.testing.assert_allclose(found[1:], [0, 1 / 2, 0])


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_cache_reads_on_where_it_stopped(cut: int) -> None:
    draw = np.random.default_rng(0)
    states = draw.normal(size=[2, 8, 3]).astype(np.float32)
    tokens = draw.integers(0, 3, [2, 8])
    whole = NeuralCache(4, [0.5, 1.0]).probabilities(states, tokens)
    cache = NeuralCache(4, [0.5, 1.0])
    parts = [
        cache.probabilities(states[:, part], tokens[:, part])
        for part in (slice(cut), slice(cut, None))
    ]
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), whole, rtol=1e-5)


def test_a_mixture_is_the_weighted_mean_of_both_probabilities() -> None:
    gains = np.log([0.2, 0.2, 0.2])
    cached = np.array([0.6, 0.0, np.nan])
    np.testing.assert_allclose(np.exp(mixed(gains, cached, 0.25)), [0.3, 0.15, 0.2])


def run(*argv: str | Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main("tasks.language_modeling", [str(argument) for argument in argv])
    assert not ended.value.code


@pytest.mark.slow
def test_evaluate_reports_the_cache_beside_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each line says one number again and again, which only a memory can foresee.
    data, run_dir = tmp_path / "lines.txt", tmp_path / "run"
    data.write_text("\n".join(f"{(n * 37) % 90 + 10} " * 8 for n in range(300)))
    small = ["--units", "8", "--embedding-units", "8", "--epochs", "1", "--batch-size", "4"]
    tokens = ["--tokenizer", "word", "--vocabulary-size", "100"]
    run("train", "--data", data, "--run-dir", run_dir, *small, *tokens)
    run("evaluate", "--run-dir", run_dir)
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    run("evaluate", "--run-dir", run_dir, "--cache-size", "20")
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["perplexity"] == pytest.approx(plain["perplexity"], rel=1e-4)
    assert report["cache_perplexity"] < 0.9 * report["perplexity"]
    assert report["signatures"]["cache_perplexity"].startswith("size:20|theta:")
    assert "cache_perplexity" not in plain

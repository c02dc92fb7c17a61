from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from reading import ENGLISH, GERMAN, REVIEWS, TEXT, examples, opened

from nlp_suite.datasets.splits import Fractions

KEYS = [f"row {n}" for n in range(20_000)]


def test_the_splits_have_the_sizes_that_were_asked_for() -> None:
    counts = Counter(map(Fractions(validation=0.05, test=0.1).split_of, KEYS))
    # Five standard deviations of a binomial count are 154 for validation and 212 for test.
    assert counts["validation"] == pytest.approx(1000, abs=154)
    assert counts["test"] == pytest.approx(2000, abs=212)


def test_a_larger_validation_takes_nothing_from_the_test_split() -> None:
    small, large = Fractions(validation=0.05, test=0.1), Fractions(validation=0.5, test=0.1)
    assert [small.split_of(k) == "test" for k in KEYS] == [
        large.split_of(k) == "test" for k in KEYS
    ]


def test_another_process_cuts_alike() -> None:
    code = (
        "from nlp_suite.datasets import Fractions; f = Fractions(0.3, 0.3); "
        "print(*[f.split_of(f'row {n}') for n in range(20)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [Fractions(0.3, 0.3).split_of(key) for key in KEYS[:20]]


def test_a_row_stays_where_it_is_when_others_come_and_go(tmp_path: Path) -> None:
    rows = [f"review {n}\t{'good' if n % 2 else 'bad'}\n" for n in range(400)]
    before, after = tmp_path / "before.tsv", tmp_path / "after.tsv"
    before.write_text("text\tlabel\n" + "".join(rows))
    after.write_text("text\tlabel\nnew\tgood\n" + "".join(reversed(rows[100:])))
    kept = {row.split("\t")[0] for row in rows[100:]}

    def texts(path: Path, split: str) -> set[str | bytes]:
        return {e["text"] for e in examples(opened(path, REVIEWS), split)} & kept

    for split in ("train", "validation", "test"):
        assert texts(before, split) == texts(after, split) != set()


def test_equal_rows_are_on_the_same_side(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"line {n % 100}\n" for n in range(300)))
    dataset = opened(path, (TEXT,))
    sides = [set(map(str, examples(dataset, s))) for s in ("train", "validation", "test")]
    assert sum(map(len, sides)) == 100


def test_both_directions_of_translation_are_cut_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("en\tde\n" + "".join(f"sentence {n}\tSatz {n}\n" for n in range(200)))
    forth = examples(opened(path, (ENGLISH, GERMAN)), "test")
    back = examples(opened(path, (GERMAN, ENGLISH)), "test")
    assert forth == back


def test_data_sets_are_opened_without_a_slow_import() -> None:
    slow = {"tensorflow", "keras", "numpy", "nltk", "tensorflow_datasets"}
    code = f"import sys, nlp_suite.datasets; print({slow!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

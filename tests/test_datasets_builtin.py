from __future__ import annotations

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("sentiment", 10_566),  # 10,603 snippets, of which 37 are rated 0
        ("translation", 21_928),
        ("language_modeling", 10_293),
        ("captioning", 3_822),  # 1,911 emoji by two vendors
    ],
)
def test_the_builtin_data_can_be_used_to_the_last_row(task: str, rows: int) -> None:
    application = import_module(f"tasks.{task}.task").TASK
    report = application(application.config_class()).dataset.inspect()
    assert sum(split.rows for split in report.splits.values()) == rows
    assert report.fault_count == 0
    assert report.problems == []
    assert {overlap.rows for overlap in report.overlaps.values()} == {0}


def test_both_drawings_of_an_emoji_are_in_the_same_split() -> None:
    captioning = import_module("tasks.captioning.task").TASK
    dataset = captioning(captioning.config_class()).dataset
    captions = [str(example["caption"]) for example in dataset.examples("test")]
    assert len(captions) == 2 * len(set(captions))

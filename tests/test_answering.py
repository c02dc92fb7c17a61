"""Raw examples become batches that are no larger than the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf

from nlp_suite import encoding
from nlp_suite.answering import MOST_BYTES, answers, side_by_side
from nlp_suite.config import Config
from nlp_suite.errors import UserError
from tasks.captioning.config import CaptioningConfig
from tasks.captioning.task import Captioning
from tasks.language_modeling.config import LanguageModelingConfig
from tasks.translation.config import TranslationConfig


@pytest.mark.parametrize("kind", [str, str.encode])
def test_one_long_text_is_not_answered_together_with_many_short_ones(kind: Any) -> None:
    sizes = []

    def echo(batch: dict[str, Any]) -> dict[str, Any]:
        lengths = tf.strings.length(batch["text"])
        sizes.append(int(tf.size(lengths) * tf.reduce_max(lengths)))
        return {"text": batch["text"]}

    texts = ["hi"] * 31 + ["!" * 20_000] + ["hi"] * 32
    found = list(answers(echo, [{"text": kind(text)} for text in texts], ("text",), 64))
    assert [each["text"] for each in found] == texts
    assert max(sizes) <= MOST_BYTES


@pytest.mark.parametrize("kind", [str, str.encode], ids=["texts", "bytes"])
def test_texts_of_like_length_are_answered_together(kind: Any) -> None:
    """Bytes are what the command line reads and what a server is sent."""
    together = []

    def echo(batch: dict[str, Any]) -> dict[str, Any]:
        together.append(sorted(set(tf.strings.length(batch["text"]).numpy().tolist())))
        return {"text": batch["text"]}

    texts = ["a", "a b c"] * 4
    found = list(answers(echo, [{"text": kind(text)} for text in texts], ("text",), 4))
    assert [each["text"] for each in found] == texts
    assert sorted(together) == [[1], [5]]


def test_who_types_is_answered_at_once() -> None:
    read = []

    def typed() -> Iterator[dict[str, str | bytes]]:
        for text in (b"a", b"b", b"c"):
            read.append(text)
            yield {"text": text}

    found = answers(lambda batch: {"text": batch["text"]}, typed(), ("text",), 1)
    assert next(found) == {"text": "a"}
    assert read == [b"a"]


def test_what_comes_before_a_bad_input_is_answered() -> None:
    def given() -> Iterator[dict[str, str | bytes]]:
        yield {"text": b"a"}
        yield {"text": b"b"}
        raise UserError("bad")

    found = answers(lambda batch: {"text": batch["text"]}, given(), ("text",), 64)
    assert [next(found)["text"], next(found)["text"]] == ["a", "b"]
    with pytest.raises(UserError, match="bad"):
        next(found)


def test_no_more_is_read_than_is_worked_on_and_one() -> None:
    read = []

    def items() -> Iterator[int]:
        for item in range(9):
            read.append(item)
            yield item

    results = side_by_side(lambda item: -item, items(), at_once=2)
    assert next(results) == 0
    assert read == [0, 1, 2]
    assert list(results) == [-item for item in range(1, 9)]


def test_what_fails_side_by_side_fails_at_its_turn() -> None:
    results = side_by_side(lambda item: 1 // item, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_half_a_surrogate_pair_is_a_replacement_character() -> None:
    """JavaScript cuts an emoji in two."""
    (found,) = answers(lambda batch: batch, [{"text": "so \ud83d"}], ("text",), 64)
    assert found == {"text": "so \ufffd"}


def test_images_are_encoded_a_few_at_a_time(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand photographs can be gigabytes."""
    sizes = []

    def stop(examples: Any, size: int) -> Any:
        sizes.append(size)
        raise RuntimeError

    monkeypatch.setattr(encoding, "batches", stop)
    with pytest.raises(RuntimeError):
        encoding.encode_examples(Captioning(CaptioningConfig()), [], tmp_path / "encoded")
    assert sizes == [encoding.IMAGES_AT_ONCE]


@pytest.mark.parametrize(
    ("make", "flags", "message"),
    [
        (Config, {"max_characters": 0}, "`max_characters` must be at least 1"),
        (Config, {"seed": 2**32}, "`seed` must be at most 4294967295.*seed=4294967296"),
        (TranslationConfig, {"sampling_seed": 2**31}, "`sampling_seed` must be at most 2147483647"),
        (TranslationConfig, {"units": 0}, "`units` must be at least 1.*Pass --units 1 or more"),
        (TranslationConfig, {"source": "de"}, "`source` and `target` must be two languages"),
        (LanguageModelingConfig, {"batch_tokens": 4096}, "`batch_tokens` must be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, flags: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**flags)


def test_whole_numbers_from_python_are_floats_where_settings_are() -> None:
    """As int32, a temperature of 0.5 asked of the export would be 0."""
    config = LanguageModelingConfig(temperature=1, top_p=1, coverage_penalty=0, units=7)
    kinds = [
        type(getattr(config, n)) for n in ("temperature", "top_p", "coverage_penalty", "units")
    ]
    assert kinds == [float, float, float, int]

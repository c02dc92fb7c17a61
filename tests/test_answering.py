"""Raw examples become batches that are no larger than the memory."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from nlp_suite import encoding
from nlp_suite.answering import MOST_BYTES, answers
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
        (TranslationConfig, {"units": 0}, "`units` must be at least 1"),
        (TranslationConfig, {"source": "de"}, "`source` and `target` must be two languages"),
        (LanguageModelingConfig, {"batch_tokens": 4096}, "`batch_tokens` must be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, flags: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**flags)

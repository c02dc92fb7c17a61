"""What the tests of data sets share: opening a path, and a way to read rows of all splits."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from nlp_suite.config import DataConfig
from nlp_suite.datasets import Builtin, Dataset, Example, Feature, open_dataset
from nlp_suite.datasets.rows import Fault, Row
from nlp_suite.errors import UserError

TEXT = Feature("text", "text", ("sentence", "review"))
LABEL = Feature("label", "label", ("sentiment",))
REVIEWS = (TEXT, LABEL)
ENGLISH, GERMAN = Feature("en", "text"), Feature("de", "text")
CAPTIONS = (Feature("image", "image"), Feature("caption", "text", ("captions",)))
NOWHERE = Builtin(Path("nowhere"))


def opened(data: Path | str, features: tuple[Feature, ...], **options: Any) -> Dataset:
    """Opens what a user would name after --data."""
    config = DataConfig(data=str(data), **options)
    return open_dataset(config, features=features, builtin=NOWHERE)


def examples(dataset: Dataset, *splits: str) -> list[Example]:
    """Reads the examples of some splits, or of all three."""
    chosen = splits or ("train", "validation", "test")
    return [example for split in chosen for example in dataset.examples(split)]


def every_row(dataset: Dataset) -> list[Row | Fault]:
    """Reads what the sources hold in the order in which they hold it, unchecked and uncut."""
    return [row for source in dataset.sources.values() for row in source.rows()]


def refusal(dataset: Dataset, split: str = "train") -> str:
    """The message with which a split is refused."""
    with pytest.raises(UserError) as caught:
        dataset.examples(split)
    message = str(caught.value)
    assert "\n" not in message
    return message


def png(width: int, height: int, shade: int = 0) -> bytes:
    """Makes a grey PNG of one shade."""
    pixels = zlib.compress((b"\0" + bytes([shade]) * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body

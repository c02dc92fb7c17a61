"""Cutting one set of rows into train, validation and test, the same way for everyone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from nlp_suite.datasets.rows import Image, Row

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""By split the names under which data sets hold it."""
SPLITS = tuple(SPLIT_NAMES)
SplitKey = Callable[[Mapping[str, str]], str]
"""From a row's values, images as their names, to the text whose hash decides the row's split."""


@dataclass(frozen=True)
class Fractions:
    """The shares of the rows that are set apart from training.

    Attributes:
        validation: Share of the rows that becomes the validation split.
        test: Share of the rows that becomes the test split.

    Example:
        >>> tenth = Fractions(validation=0.1, test=0.1)
        >>> [tenth.split_of(word) for word in ("d", "e", "f", "e")]
        ['train', 'test', 'validation', 'test']
        >>> Fractions(validation=0.0, test=0.0).split_of("any row")
        'train'
    """

    validation: float = 0.05
    test: float = 0.05

    def split_of(self, key: str) -> str:
        """Says on which side a row falls: a pure function of its key.

        The position depends on the key alone, not on the row's place or neighbours; with larger
        fractions no row leaves the test split.

        Args:
            key: What identifies the row.

        Returns:
            `train`, `validation` or `test`.
        """
        digest = hashlib.blake2b(key.encode("utf-8", errors="surrogateescape"), digest_size=8)
        position = int.from_bytes(digest.digest(), "big") / 2**64
        if position < self.test:
            return "test"
        return "validation" if position < self.test + self.validation else "train"


def row_key(row: Row, answers: Collection[str] = ()) -> str:
    """Identifies a row by its texts, or by its image where it has one.

    The captions of one image thus stay together. The order of the features does not matter, so a
    translation corpus is cut the same way in either direction. Labels do not matter, so who reads
    the texts alone, such as a language model, cuts them as a classifier does.

    Args:
        row: The row.
        answers: The features that are labels, or say something about one.

    Example:
        >>> forth, back = Row({"en": "a", "de": "b"}, "f", 1), Row({"de": "b", "en": "a"}, "g", 2)
        >>> row_key(forth) == row_key(back)
        True
        >>> row_key(Row({"text": "a", "label": "b"}, "f", 1), ["label"])
        'a'
    """
    images = [value.name for value in row.values.values() if isinstance(value, Image)]
    texts = [text for name, text in sorted(row.texts.items()) if name not in answers]
    return "\x1f".join(images or texts)

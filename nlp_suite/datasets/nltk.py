"""Rows from the corpora that NLTK distributes: `nltk:CORPUS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nlp_suite.datasets.paragraphs import paragraphs
from nlp_suite.datasets.rows import Fault, Feature, Row, Source
from nlp_suite.errors import UserError

Numbered = Iterator[tuple[int, Mapping[str, str]]]
"""The rows of a file: the line where each begins, and its columns."""


@dataclass(frozen=True)
class _Corpus:
    """How one of NLTK's corpora is read.

    Attributes:
        columns: What the rows of a file hold; a file without a wanted column is passed over.
        read: Reads a file through NLTK's reader.
        split: Which split a file belongs to.
    """

    columns: Callable[[str], tuple[str, ...]]
    read: Callable[[Any, str], Numbered]
    split: Callable[[str], str] = lambda _: "train"


@dataclass(frozen=True)
class NltkFiles:
    """Some files of an NLTK corpus.

    Attributes:
        name: The corpus's name.
        reader: NLTK's reader of it.
        files: Their names in the corpus.
        features: What a row is to hold.
    """

    name: str
    reader: Any
    files: tuple[str, ...]
    features: tuple[Feature, ...]

    def rows(self) -> Iterator[Row | Fault]:
        """Reads the files one after the other."""
        for file in self.files:
            path = f"nltk:{self.name}/{file}"
            try:
                for line, columns in _CORPORA[self.name].read(self.reader, file):
                    yield Row({f.name: columns[_column(f, columns)] for f in self.features},
                              path, line)  # fmt: skip
            except UnicodeDecodeError as error:
                yield Fault(path, 1, f"text in {error.encoding}", str(error))


def open_nltk(name: str, features: tuple[Feature, ...]) -> Mapping[str, Source]:
    """Opens a corpus from the folders where NLTK looks for its data.

    Args:
        name: The corpus: movie_reviews, sentence_polarity, twitter_samples, brown, gutenberg,
            reuters or comtrans.
        features: What a row is to hold.

    Returns:
        The sources by split.

    Raises:
        UserError: The corpus is unknown, not there, or does not hold the features.
    """
    if name not in _CORPORA:
        near = get_close_matches(name, _CORPORA, n=1)
        hint = f"Did you mean nltk:{near[0]}?" if near else f"Known are {', '.join(_CORPORA)}."
        raise UserError(f"`data` must name a known NLTK corpus. Received: data=nltk:{name}. {hint}")
    import nltk.corpus

    corpus, reader = _CORPORA[name], getattr(nltk.corpus, name)
    try:
        files = reader.fileids()
    except LookupError as error:
        raise UserError(
            f"`data` names an NLTK corpus that is not on this machine. Received: data=nltk:{name}. "
            f"Get it with: python -m nltk.downloader {name}"
        ) from error
    fitting = [f for f in files if all(_column(feature, corpus.columns(f)) for feature in features)]
    if not fitting:
        wanted = " and ".join(f"`{feature.name}`" for feature in features)
        raise UserError(f"`data` must hold {wanted}. Received: data=nltk:{name}, which has not.")
    return {
        split: NltkFiles(
            name, reader, tuple(f for f in fitting if corpus.split(f) == split), features
        )
        for split in dict.fromkeys(map(corpus.split, fitting))
    }


def _column(feature: Feature, columns: Any) -> str:
    return feature.find(columns) or ""


def _one_line(text: str) -> str:
    """Undoes the breaking of a document into lines."""
    return " ".join(text.split())


def _reviews(reader: Any, file: str) -> Numbered:
    yield 1, {"text": _one_line(reader.raw(file)), "label": reader.categories(file)[0]}


def _polarity(reader: Any, file: str) -> Numbered:
    label = reader.categories(file)[0]
    for line, text in enumerate(reader.raw(file).splitlines(), start=1):
        if text.strip():
            yield line, {"text": text.strip(), "label": label}


def _tweets(reader: Any, file: str) -> Numbered:
    for line, text in enumerate(reader.strings(file), start=1):
        yield line, {"text": text, "label": file.partition("_")[0]}


def _tagged(reader: Any, file: str) -> Numbered:
    for number, paragraph in enumerate(reader.paras(file), start=1):
        yield number, {"text": " ".join(word for sentence in paragraph for word in sentence)}


def _novel(reader: Any, file: str) -> Numbered:
    for line, text in paragraphs(reader.raw(file)):
        yield line, {"text": text}


def _news(reader: Any, file: str) -> Numbered:
    yield 1, {"text": _one_line(reader.raw(file))}


def _languages(file: str) -> tuple[str, ...]:
    """The languages of a file of the comtrans corpus: alignment-de-en.txt holds de and en."""
    return tuple(file.removesuffix(".txt").split("-")[1:])


def _translations(reader: Any, file: str) -> Numbered:
    first, second = _languages(file)
    for number, pair in enumerate(reader.aligned_sents(file), start=1):
        yield number, {first: " ".join(pair.words), second: " ".join(pair.mots)}


def _text(_: str) -> tuple[str, ...]:
    return ("text",)


def _text_and_label(_: str) -> tuple[str, ...]:
    return ("text", "label")


_CORPORA: Mapping[str, _Corpus] = {
    "movie_reviews": _Corpus(_text_and_label, _reviews),
    "sentence_polarity": _Corpus(_text_and_label, _polarity),
    "twitter_samples": _Corpus(
        lambda file: ("text", "label") if "_tweets" in file else ("text",), _tweets
    ),
    "brown": _Corpus(_text, _tagged),
    "gutenberg": _Corpus(_text, _novel),
    "reuters": _Corpus(
        _text, _news, split=lambda file: "test" if file.startswith("test/") else "train"
    ),
    "comtrans": _Corpus(_languages, _translations),
}

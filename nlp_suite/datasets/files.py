"""Rows from single files: .tsv, .csv, .jsonl and .txt, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from nlp_suite.datasets.paragraphs import Line, has_blank_lines, join_paragraphs
from nlp_suite.datasets.places import Place
from nlp_suite.datasets.rows import Fault, Feature, Image, Row, quoted, unfold

Record = dict[str, Any]
Convert = Callable[[Mapping[str, str]], Mapping[str, str] | None]
"""From a record's own columns to a task's features; None leaves the record out."""


class BrokenFileError(Exception):
    """The rest of a file cannot be read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True)
class TextFile:
    """A text file in UTF-8, gzipped when its name says so.

    Attributes:
        place: The folder or archive it is in.
        name: Its name there.
    """

    place: Place
    name: str

    @property
    def path(self) -> str:
        """The file's path, for messages."""
        return self.place.path_of(self.name)

    def fault(self, line: int, expected: str, found: str) -> Fault:
        """Describes what is wrong on a line of this file."""
        return Fault(self.path, line, expected, found)

    def lines(self) -> Iterator[Line]:
        """Reads the lines, without their ends, numbered from 1.

        Bytes that are not UTF-8 become lone surrogates, so that the check of the rows can name the
        byte and the line while the rest of the file is still read.

        Raises:
            BrokenFileError: The file cannot be opened, decompressed or is UTF-16.
        """
        number = 0
        try:
            with self._open() as file:
                for number, line in enumerate(file, start=1):
                    if number == 1:
                        line = self._without_byte_order_mark(line)
                    text = line.decode("utf-8", errors="surrogateescape")
                    yield number, text.removesuffix("\n").removesuffix("\r")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BrokenFileError(
                self.fault(number + 1, "a whole gzip file", str(error))
            ) from error
        except OSError as error:
            found = error.strerror or str(error)
            raise BrokenFileError(self.fault(1, "a readable file", found)) from error

    def _open(self) -> BinaryIO:
        file = self.place.open(self.name)
        return cast(BinaryIO, gzip.open(file)) if self.name.endswith(".gz") else file

    def _without_byte_order_mark(self, line: bytes) -> bytes:
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise BrokenFileError(self.fault(1, "text in UTF-8", "a byte order mark of UTF-16"))
        return line.removeprefix(b"\xef\xbb\xbf")


@dataclass(frozen=True)
class Table(TextFile, ABC):
    """A file of records with named columns.

    A blank line holds no record and is passed over.

    Attributes:
        features: What the rows are to hold.
        convert: Makes the features from a record's columns; by default they are found by name.
    """

    features: tuple[Feature, ...]
    convert: Convert | None = None

    @abstractmethod
    def records(self) -> Iterator[tuple[int, Record] | Fault]:
        """Reads the file's records, each with the line on which it begins."""

    def rows(self) -> Iterator[Row | Fault]:
        """Reads the file's rows, with faults in the place of those that cannot be used."""
        empty = True
        try:
            for record in self.records():
                empty = False
                yield from [record] if isinstance(record, Fault) else self._rows_of(*record)
        except BrokenFileError as error:
            yield error.fault
            return
        if empty:
            yield self.fault(1, "at least one row", "none")

    def _rows_of(self, line: int, record: Record) -> Iterator[Row | Fault]:
        """Makes a row of a record; several when one of its values is a list of texts."""
        values = self.convert(record) if self.convert else self._select(record)
        if values is None:
            return
        wrong = [name for name, value in values.items() if not _is_text(value)]
        if wrong:
            found = f"{type(values[wrong[0]]).__name__}"
            yield self.fault(line, f"`{wrong[0]}` to be a text", found)
            return
        for version in unfold(values):
            yield Row({f.name: self._value(f, version[f.name]) for f in self.features},
                      self.path, line)  # fmt: skip

    def _select(self, record: Record) -> Record:
        return {f.name: record[f.find(record) or f.name] for f in self.features}

    def _value(self, feature: Feature, text: str) -> str | Image:
        if feature.kind != "image":
            return text
        name = str(PurePosixPath(self.name).parent / text)
        return Image(text, partial(self.place.read, name))

    def missing(self, line: int, columns: list[str]) -> Fault | None:
        """Describes the features that columns do not hold, if any."""
        absent = [f for f in self.features if f.find(columns) is None]
        if self.convert or not absent:
            return None
        expected = ", ".join(f"`{name}`" for f in absent for name in (f.name, *f.aliases)[:1])
        return self.fault(line, f"a column {expected}", quoted(", ".join(columns)))


class SeparatedTable(Table):
    """A table whose first line names the columns."""

    @abstractmethod
    def cells(self) -> Iterator[tuple[int, list[str]] | Fault]:
        """Reads the cells of each line that is not blank."""

    def records(self) -> Iterator[tuple[int, Record] | Fault]:
        """Reads the file's records, each with the line on which it begins."""
        header: list[str] | None = None
        for item in self.cells():
            if isinstance(item, Fault):
                yield item
                continue
            line, cells = item
            if header is None:
                header = cells
                if fault := self.missing(line, header):
                    raise BrokenFileError(fault)
            elif len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            else:
                yield self.fault(line, f"{len(header)} columns", str(len(cells)))


class TsvFile(SeparatedTable):
    """Tab-separated values: no quoting, so a cell holds neither tabs nor line breaks."""

    def cells(self) -> Iterator[tuple[int, list[str]] | Fault]:
        """Reads the cells of each line that is not blank."""
        for number, line in self.lines():
            if line.strip():
                yield number, line.split("\t")


class CsvFile(SeparatedTable):
    """Comma-separated values: a quoted cell may hold commas, quotes and line breaks (RFC 4180)."""

    def cells(self) -> Iterator[tuple[int, list[str]] | Fault]:
        """Reads the cells of each line that is not blank."""
        reader = csv.reader((f"{line}\n" for _, line in self.lines()), strict=True)
        while True:
            begin = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self.fault(begin, "quoted cells that end", str(error))
                continue
            if any(cell.strip() for cell in cells):
                yield begin, cells


class JsonlFile(Table):
    """One JSON object a line."""

    def records(self) -> Iterator[tuple[int, Record] | Fault]:
        """Reads the file's records, each with the line on which it stands."""
        for number, line in self.lines():
            if line.strip():
                yield self._record(number, line)

    def _record(self, number: int, line: str) -> tuple[int, Record] | Fault:
        try:
            record = json.loads(line)
        except ValueError as error:
            return self.fault(number, "a JSON object", f"{quoted(line)} ({error})")
        if not isinstance(record, dict):
            return self.fault(number, "a JSON object", quoted(line))
        labels = {f.find(record) for f in self.features if f.kind == "label"}
        record = {k: str(v) if k in labels and isinstance(v, int) else v for k, v in record.items()}
        return self.missing(number, list(record)) or (number, record)


class TxtFile(Table):
    """Running text: paragraphs where blank lines separate them, otherwise lines."""

    def records(self) -> Iterator[tuple[int, Record] | Fault]:
        """Reads the paragraphs, their lines joined by a space."""
        if len(self.features) > 1:
            names = ", ".join(f"`{f.name}`" for f in self.features)
            raise BrokenFileError(
                self.fault(1, f"columns {names} in a .tsv, .csv or .jsonl file", "a .txt file")
            )
        name = self.features[0].name
        rows = join_paragraphs(self.lines()) if has_blank_lines(self.lines()) else self.lines()
        for number, text in rows:
            if text.strip():
                yield number, {name: text}


@dataclass(frozen=True)
class ParallelFiles:
    """Files whose lines with the same number belong together, such as train.en and train.de.

    Attributes:
        files: The file of each feature.
    """

    files: Mapping[str, TextFile]

    def rows(self) -> Iterator[Row | Fault]:
        """Reads the rows; one that is blank in every file is passed over."""
        first = next(iter(self.files.values()))
        line, empty = 0, True
        try:
            for lines in zip_longest(*(file.lines() for file in self.files.values())):
                line += 1
                if fault := self._uneven(line, lines):
                    yield fault
                    return
                texts = [text for _, text in lines]
                if any(text.strip() for text in texts):
                    empty = False
                    yield Row(dict(zip(self.files, texts, strict=True)), first.path, line)
        except BrokenFileError as error:
            yield error.fault
            return
        if empty:
            yield first.fault(1, "at least one row", "none")

    def _uneven(self, line: int, lines: tuple[Line | None, ...]) -> Fault | None:
        """Describes the end of one file before the other, if it is here."""
        files = list(self.files.values())
        ended = [file for file, item in zip(files, lines, strict=True) if item is None]
        if not ended:
            return None
        longer = next(file for file in files if file not in ended)
        found = f"its end after {line - 1} lines"
        return ended[0].fault(line, f"as many lines as {longer.path} has", found)


FORMATS: Mapping[str, type[Table]] = {
    ".tsv": TsvFile,
    ".csv": CsvFile,
    ".jsonl": JsonlFile,
    ".txt": TxtFile,
}


def format_of(name: str) -> type[Table] | None:
    """Says in which format a file is by the end of its name.

    Example:
        >>> format_of("train.tsv.gz").__name__, format_of("train.en")
        ('TsvFile', None)
    """
    return FORMATS.get(PurePosixPath(name.removesuffix(".gz")).suffix)


def _is_text(value: object) -> bool:
    """Whether a value is a text, or a list of texts that stand for one row each."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)

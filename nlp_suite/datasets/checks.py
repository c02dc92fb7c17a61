"""The check that every row passes before it becomes an example."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from nlp_suite.datasets.rows import Fault, Image, Row
from nlp_suite.image_header import image_header


@dataclass
class RowCheck:
    """Finds what is wrong with a row, and shortens texts that are far too long.

    Attributes:
        max_characters: Longest text, in characters.
        long_rows: Whether a longer text is shortened to that (`truncate`) or a fault (`refuse`).
    """

    max_characters: int
    long_rows: Literal["truncate", "refuse"]
    # An image with several captions is read and judged once.
    _images: dict[str, str | None] = field(default_factory=dict)

    def __call__(self, row: Row) -> Row | Fault:
        """Checks one row.

        Returns:
            The row, with long texts shortened, or the first fault in it.
        """
        for name, value in row.values.items():
            wrong = self._image(value) if isinstance(value, Image) else self._text(name, value)
            if wrong:
                return Fault(row.file, row.line, *wrong)
        limit = self.max_characters
        values = {k: v if isinstance(v, Image) else v[:limit] for k, v in row.values.items()}
        return row if values == row.values else replace(row, values=values, shortened=True)

    def _text(self, name: str, text: str) -> tuple[str, str] | None:
        """Returns what was expected and what was found, or None when all is well."""
        if not text.strip():
            return f"`{name}` to hold text", "none"
        if "\0" in text:
            return f"`{name}` to be text", f"a NUL byte after {text.index(chr(0))} characters"
        if len(text) > self.max_characters and self.long_rows == "refuse":
            return f"at most {self.max_characters} characters in `{name}`", str(len(text))
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            is_byte = 0xDC80 <= code <= 0xDCFF  # how "surrogateescape" keeps an undecodable byte
            found = f"the byte 0x{code - 0xDC00:02x}" if is_byte else f"the half pair U+{code:04X}"
            return f"`{name}` in UTF-8", f"{found} after {error.start} characters"
        return None

    def _image(self, image: Image) -> tuple[str, str] | None:
        """Returns what was expected and what was found, or None when all is well."""
        if image.name not in self._images:
            self._images[image.name] = _image_fault(image)
        found = self._images[image.name]
        return (f"a PNG, JPEG, GIF or BMP image at {image.name}", found) if found else None


def _image_fault(image: Image) -> str | None:
    try:
        image_header(image.read())
    except OSError:
        return "no such file"
    except ValueError as error:
        return str(error)
    return None

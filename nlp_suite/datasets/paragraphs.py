"""Cutting running text into rows: paragraphs where blank lines separate them, otherwise lines.

Some corpora are a single line of many millions of words. Such lines are cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nlp_suite.specials import MAX_CHARACTERS

Line = tuple[int, str]
"""A line's number, counted from 1, and its text."""

PIECE = 2_000
"""Characters at most of the pieces that a longer line is cut into: as many as a long paragraph
has, so that a text of 100 kB gives rows for three splits."""


def has_blank_lines(lines: Iterable[Line]) -> bool:
    """Whether a blank line stands between two lines that are not blank.

    Example:
        >>> has_blank_lines([(1, "a"), (2, "b"), (3, "")])
        False
    """
    begun = ended = False
    for _, line in lines:
        if not line.strip():
            ended = begun
        elif ended:
            return True
        else:
            begun = True
    return False


def cut_long_lines(parts: Iterable[Line], longest: int = MAX_CHARACTERS) -> Iterator[Line]:
    """Cuts lines that are too long for one row into pieces, at white space where there is any.

    The pieces depend on the line alone, and no more of it than two parts is held in memory.

    Args:
        parts: Numbered lines; one of `longest` characters and more may come in parts of that
            length, all with its number.
        longest: Characters from which on a line is cut.

    Yields:
        Each line, or its pieces with its number.

    Example:
        >>> line = "word " * 1000
        >>> [(number, len(piece)) for number, piece in cut_long_lines([(7, line)], longest=99)]
        [(7, 1999), (7, 1999), (7, 1000)]
    """
    cut, rest = 0, ""
    for number, part in parts:
        if rest and number != cut:
            yield cut, rest
            rest = ""
        if number != cut and len(part) < longest:
            yield number, part
            continue
        *pieces, rest = _pieces(rest + part)
        yield from ((number, piece) for piece in pieces)
        cut = number
    if rest:
        yield cut, rest


def _pieces(text: str) -> Iterator[str]:
    """Cuts a text at the last white space that leaves a piece short enough."""
    begin = 0
    while len(text) - begin > PIECE:
        last = begin + PIECE
        space = max(text.rfind(character, begin + 1, last + 1) for character in " \t\r")
        yield text[begin : space if space > 0 else last]
        begin = space + 1 if space > 0 else last
    yield text[begin:]


def join_paragraphs(lines: Iterable[Line]) -> Iterator[Line]:
    """Joins the lines between blank lines by a space, to paragraphs of at most MAX_CHARACTERS.

    Args:
        lines: Numbered lines, none of them longer.

    Yields:
        Each paragraph with the number of its first line.

    Example:
        >>> list(join_paragraphs([(1, "to be"), (2, "or not"), (3, ""), (4, "that is")]))
        [(1, 'to be or not'), (4, 'that is')]
    """
    begin, parts, length = 0, list[str](), 0
    for number, line in lines:
        text = line.strip()
        if parts and (not text or length + len(text) > MAX_CHARACTERS):
            yield begin, " ".join(parts)
            parts, length = [], 0
        if text:
            begin = begin if parts else number
            parts.append(text)
            length += len(text) + 1
    if parts:
        yield begin, " ".join(parts)


def paragraphs(text: str) -> Iterator[Line]:
    r"""Cuts a text into paragraphs, or into lines when it has no blank lines.

    Args:
        text: Running text.

    Yields:
        The rows that are not blank, each with the number of its first line.

    Example:
        >>> [text for _, text in paragraphs("First Citizen:\nSpeak.\n\nAll:\nWe know't.")]
        ['First Citizen: Speak.', "All: We know't."]
    """
    lines = list(cut_long_lines(enumerate(text.splitlines(), start=1)))
    rows = join_paragraphs(lines) if has_blank_lines(lines) else iter(lines)
    return ((number, row) for number, row in rows if row.strip())

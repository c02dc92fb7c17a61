"""Cutting running text into rows: paragraphs where blank lines separate them, otherwise lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Line = tuple[int, str]
"""A line's number, counted from 1, and its text."""


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


def join_paragraphs(lines: Iterable[Line]) -> Iterator[Line]:
    """Joins the lines between blank lines by a space.

    Args:
        lines: Numbered lines.

    Yields:
        Each paragraph with the number of its first line.

    Example:
        >>> list(join_paragraphs([(1, "to be"), (2, "or not"), (3, ""), (4, "that is")]))
        [(1, 'to be or not'), (4, 'that is')]
    """
    begin, parts = 0, list[str]()
    for number, line in lines:
        if line.strip():
            begin = begin if parts else number
            parts.append(line.strip())
        elif parts:
            yield begin, " ".join(parts)
            parts = []
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
    lines = list(enumerate(text.splitlines(), start=1))
    rows = join_paragraphs(lines) if has_blank_lines(lines) else iter(lines)
    return ((number, row) for number, row in rows if row.strip())

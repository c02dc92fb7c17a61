"""What the first bytes of an image say: its format and its size, without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class ImageHeader:
    """The format and size of an encoded image.

    Attributes:
        kind: `png`, `jpeg`, `gif` or `bmp`.
        width: In pixels.
        height: In pixels.
    """

    kind: str
    width: int
    height: int


def image_header(data: bytes) -> ImageHeader:
    """Reads the format and size from an encoded image.

    Args:
        data: The encoded image.

    Returns:
        Its header.

    Raises:
        ValueError: The bytes are no PNG, JPEG, GIF or BMP, or they end too early.

    Example:
        >>> image_header(b"GIF89a" + bytes([3, 0, 2, 0, 0, 0, 0]))
        ImageHeader(kind='gif', width=3, height=2)
    """
    try:
        header = _header(data)
    except struct.error as error:
        raise ValueError(f"an image cut short after {len(data)} bytes") from error
    if header.width < 1 or header.height < 1:
        raise ValueError(f"an image of {header.width} x {header.height} pixels")
    return header


def _header(data: bytes) -> ImageHeader:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageHeader("png", *struct.unpack_from(">II", data, 16))
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_header(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return ImageHeader("gif", *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", data, 18)
        return ImageHeader("bmp", width, abs(height))  # a negative height: rows from the top
    raise ValueError(f"{len(data)} bytes beginning with {data[:8]!r}" if data else "an empty file")


def _jpeg_header(data: bytes) -> ImageHeader:
    """Walks the segments up to the start of frame (SOF), which holds the size."""
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == 0xFFFF:  # a fill byte
            position += 1
            continue
        if marker < 0xFF00:
            raise ValueError("a damaged JPEG")
        # SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which share the range.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return ImageHeader("jpeg", width, height)
        position += 2 + length

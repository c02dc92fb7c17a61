"""What an encoded image says of itself before it is decoded: its kind, its size, its limits.

`nlp_suite.images` checks the same in the graph. Here it is plain Python, for data sets and for what
a user names on the command line, without importing TensorFlow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nlp_suite.errors import UserError

MAX_BYTES = 20 * 2**20
"""The largest encoded image that is decoded."""
MAX_PIXELS = 25_000_000
"""The largest image that is decoded; a camera of 24 megapixels is let in."""
MAX_BLOCKS = 20_000
"""How many blocks of a JPEG or GIF are walked in search of its size; each holds up to 64 kB."""
MAX_SCANS = 100
"""How many scans a JPEG may have: each repaints the whole image and can be as short as 42 bytes."""

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
GIFS = (b"GIF87a", b"GIF89a")
BMP = b"BM"
JPEG_SCAN = b"\xff\xda"
BMP_DEPTHS = (8, 24, 32)
GIF_EXTENSION, GIF_FRAME = 0x21, 0x2C
# Starts of frame 0 to 15, without DHT (C4), JPG (C8) and DAC (CC), which share their range.
JPEG_FRAMES = {*range(0xFFC0, 0xFFD0)} - {0xFFC4, 0xFFC8, 0xFFCC}


@dataclass(frozen=True)
class ImageHeader:
    """The kind and size of an encoded image.

    Attributes:
        kind: `png`, `jpeg`, `gif` or `bmp`.
        width: In pixels.
        height: In pixels.
    """

    kind: str
    width: int
    height: int


def check_image(content: bytes) -> None:
    """Refuses what `nlp_suite.images.decode_images` would refuse, without decoding it.

    Damage inside the compressed pixels is found only by decoding.

    Args:
        content: The encoded image.

    Raises:
        UserError: It is no JPEG, PNG, GIF or BMP, is too large, or was cut short.

    Example:
        >>> check_image(b"<svg/>")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        nlp_suite.errors.UserError: ... Received: 6 bytes beginning with b'<svg/>'. ...
    """
    try:
        image_header(content)
    except ValueError as error:
        raise UserError(
            f"`image` must be a JPEG, PNG, GIF or BMP of at most {MAX_BYTES >> 20} MiB and "
            f"{MAX_PIXELS // 10**6} megapixels. Received: {error}. Convert it or make it smaller."
        ) from error


def image_header(content: bytes) -> ImageHeader:
    """Reads the kind and size of an encoded image and sees that it keeps the limits.

    Args:
        content: The encoded image.

    Returns:
        Its header.

    Raises:
        ValueError: The bytes are no PNG, JPEG, GIF or BMP, are too large, or end too early.

    Example:
        >>> import base64
        >>> gif = "R0lGODlhAgADAIAAAP8AAAAAACwAAAAAAgADAAACAoRfADs="
        >>> image_header(base64.b64decode(gif))
        ImageHeader(kind='gif', width=2, height=3)
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"an image of {len(content)} bytes")
    try:
        header = _header(content)
    except (struct.error, IndexError) as error:
        raise ValueError(f"an image cut short after {len(content)} bytes") from error
    if not 0 < header.width * header.height <= MAX_PIXELS:
        raise ValueError(f"an image of {header.width} x {header.height} pixels")
    return header


def _header(content: bytes) -> ImageHeader:
    if content.startswith(PNG):
        return _png_header(content)
    if content.startswith(JPEG):
        return _jpeg_header(content)
    if content.startswith(GIFS):
        return _gif_header(content)
    if content.startswith(BMP):
        return _bmp_header(content)
    found = f"{len(content)} bytes beginning with {content[:8]!r}" if content else "an empty file"
    raise ValueError(found)


def _png_header(content: bytes) -> ImageHeader:
    header = ImageHeader("png", *struct.unpack_from(">II", content, 16))
    at, kind = len(PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        at += length + 12
    if len(content) < at:
        raise IndexError("no end of image")
    return header


def _jpeg_header(content: bytes) -> ImageHeader:
    """Walks the segments up to the start of frame (SOF), which holds the size."""
    at = 2
    for _ in range(MAX_BLOCKS):
        marker, length = struct.unpack_from(">HH", content, at)
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            _check_scans(content, at)
            return ImageHeader("jpeg", width, height)
        if marker < 0xFF00:
            break
        at += 1 if marker == 0xFFFF else 2 + length  # FFFF: a fill byte
    raise ValueError("a damaged JPEG")


def _check_scans(content: bytes, frame: int) -> None:
    if (scans := content.count(JPEG_SCAN)) > MAX_SCANS:
        raise ValueError(f"a JPEG of {scans} scans")
    if content.find(b"\xff\xd9", frame) < 0:
        raise IndexError("no end of image")


def _gif_header(content: bytes) -> ImageHeader:
    """Walks the blocks up to the end of the first frame, which may be larger than the screen."""
    screen_width, screen_height, flags = struct.unpack_from("<HHB", content, 6)
    at = 13 + _gif_colors(flags)
    blocks_left = iter(range(MAX_BLOCKS))
    while content[at] == GIF_EXTENSION:
        at = _after_blocks(content, at + 2, blocks_left)
    kind, width, height, flags = struct.unpack_from("<B4xHHB", content, at)
    if kind != GIF_FRAME:
        raise ValueError("a damaged GIF")
    _after_blocks(content, at + 11 + _gif_colors(flags), blocks_left)
    return ImageHeader("gif", max(screen_width, width), max(screen_height, height))


def _gif_colors(flags: int) -> int:
    """Gives the length of the table of colours that the flags announce, in bytes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(content: bytes, at: int, blocks_left: Iterator[int]) -> int:
    """Walks a GIF's chain of blocks, each with its length before it, to the one of length 0."""
    for _ in blocks_left:
        if content[at] == 0:
            return at + 1
        at += 1 + content[at]
    raise ValueError(f"a GIF of more than {MAX_BLOCKS} blocks")


def _bmp_header(content: bytes) -> ImageHeader:
    start, header_size, width, height, _, depth, compression = struct.unpack_from(
        "<IIiiHHI", content, 10
    )
    # 0 is plain, 3 is plain with masks that say which byte is which colour.
    if header_size < 40 or depth not in BMP_DEPTHS or compression not in (0, 3):
        raise ValueError(f"a compressed or {depth}-bit BMP")
    height = abs(height)  # negative: rows from the top
    row = (width * depth + 31) // 32 * 4
    if len(content) < start + row * height:
        raise IndexError("no end of image")
    return ImageHeader("bmp", width, height)

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from nlp_suite.errors import UserError
from nlp_suite.image_header import MAX_BLOCKS, MAX_BYTES, MAX_SCANS, image_header
from nlp_suite.images import check_image, decode_images

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str, color: object, kind: str, side: int = 8, **options: object) -> bytes:
    return encoded(Image.new(mode, (side, side), color), kind, **options)  # type: ignore[arg-type]


def decoded(content: bytes, size: int = 8) -> np.ndarray:
    return decode_images(tf.constant([content]), size)[0].numpy()


def center(content: bytes) -> list[int]:
    return decoded(content)[4, 4].tolist()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def replaced(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_an_image_of_the_wanted_size_keeps_every_pixel(kind: str) -> None:
    content = encoded(Image.fromarray(PIXELS), kind)
    np.testing.assert_array_equal(decoded(content), PIXELS)


SAMPLES = {
    "grey PNG": (plain("L", 77, "PNG"), [77, 77, 77]),
    "grey PNG with opacity": (plain("LA", (0, 51), "PNG"), [204, 204, 204]),
    "transparent PNG": (plain("RGBA", (0, 0, 0, 0), "PNG"), WHITE),
    "half red PNG": (plain("RGBA", (255, 0, 0, 128), "PNG"), [255, 127, 127]),
    "opaque PNG": (plain("RGBA", (1, 2, 3, 255), "PNG"), [1, 2, 3]),
    "16 bit PNG": (plain("I;16", 0x8000, "PNG"), [128, 128, 128]),
    "1 bit PNG": (plain("1", 1, "PNG"), WHITE),
    "palette PNG": (encoded(Image.new("RGB", (8, 8), "lime").quantize(), "PNG"), GREEN),
    "palette PNG with a transparent color": (plain("P", 0, "PNG", transparency=0), WHITE),
    "GIF": (encoded(Image.new("RGB", (8, 8), "red"), "GIF"), RED),
    "GIF with a comment": (
        encoded(Image.new("RGB", (8, 8), "red"), "GIF", comment=b"x" * 700),
        RED,
    ),
    "GIF that moves": (
        encoded(
            Image.new("RGB", (8, 8), "blue"),
            "GIF",
            save_all=True,
            append_images=[Image.new("RGB", (8, 8), "red")],
        ),
        BLUE,
    ),
    "BMP": (plain("RGB", "blue", "BMP"), BLUE),
    "BMP with a palette": (encoded(Image.new("RGB", (8, 8), "lime").quantize(), "BMP"), GREEN),
    "grey BMP": (plain("L", 77, "BMP"), [77, 77, 77]),
    "32 bit BMP": (plain("RGBA", (255, 0, 0, 0), "BMP"), RED),
    "BMP from the top": (
        replaced(plain("RGB", "blue", "BMP"), 22, struct.pack("<i", -8)),
        BLUE,
    ),
}


@pytest.mark.parametrize(("content", "color"), SAMPLES.values(), ids=SAMPLES)
def test_every_kind_becomes_rgb(content: bytes, color: list[int]) -> None:
    check_image(content)
    assert center(content) == color


JPEGS = {
    "RGB": (plain("RGB", "red", "JPEG"), RED),
    "grey": (plain("L", 77, "JPEG"), [77, 77, 77]),
    "CMYK": (plain("CMYK", (0, 255, 255, 0), "JPEG"), RED),
    "progressive": (plain("RGB", "blue", "JPEG", progressive=True), BLUE),
    "with a comment": (plain("RGB", "red", "JPEG", comment=b"x" * 60_000), RED),
    "with a profile": (plain("RGB", "red", "JPEG", icc_profile=b"x" * 200_000), RED),
}


@pytest.mark.parametrize(("content", "color"), JPEGS.values(), ids=JPEGS)
def test_every_kind_of_jpeg_becomes_rgb(content: bytes, color: list[int]) -> None:
    check_image(content)
    np.testing.assert_allclose(center(content), color, atol=2)


def test_a_bmp_from_the_top_is_not_upside_down() -> None:
    content = encoded(Image.fromarray(PIXELS), "BMP")
    upside_down = decoded(replaced(content, 22, struct.pack("<i", -8)))
    np.testing.assert_array_equal(upside_down, PIXELS[::-1])


@pytest.mark.parametrize("kept", [0, 1, 3], ids="{} entries".format)
def test_colors_that_the_palette_of_a_bmp_lacks_are_black(kept: int) -> None:
    """The pixels are 0, 1, 2, … from the left; one entry more than is kept is cut in the middle."""
    palette = [(10 * color, 20 * color, 30 * color) for color in range(1, 9)]
    image = Image.new("P", (8, 8))
    image.putpalette([value for color in palette for value in color])
    image.putdata([column for _ in range(8) for column in range(8)])
    content = encoded(image, "BMP")
    end, begin = struct.unpack("<i", content[10:14])[0], 54
    cut = begin + 4 * kept + (2 if kept else 0)
    content = replaced(content[:cut] + content[end:], 10, struct.pack("<i", cut))
    first = decoded(content)[0].tolist()
    assert first[:kept] == [list(color) for color in palette[:kept]]
    assert first[kept + 1 :] == [[0, 0, 0]] * (7 - kept)


def test_a_wide_image_is_kept_whole_and_centered_on_white() -> None:
    image = Image.new("RGB", (16, 8), "red")
    image.paste("blue", (8, 0, 16, 8))
    pixels = decoded(encoded(image, "PNG"))
    assert pixels[4, [0, 7]].tolist() == [RED, BLUE]
    assert (pixels[:2] == 255).all()
    assert (pixels[6:] == 255).all()
    assert (pixels[2:6, :, 1] == 0).all()


def test_an_image_of_one_row_still_shows() -> None:
    pixels = decoded(encoded(Image.new("RGB", (1000, 1), "red"), "PNG"))
    assert pixels[3].tolist() == [RED] * 8
    assert pixels[[2, 4]].tolist() == [[WHITE] * 8] * 2


def test_a_small_image_is_enlarged() -> None:
    assert (decoded(plain("RGB", "red", "PNG", side=2)) == RED).all()


@pytest.mark.parametrize("side", [16, 96])
def test_shrinking_takes_the_mean_and_not_every_nth_pixel(side: int) -> None:
    checkerboard = (np.indices((side, side)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = decoded(encoded(Image.fromarray(checkerboard), "PNG"))
    np.testing.assert_allclose(pixels, 127.5, atol=12)


def test_images_of_different_size_and_kind_are_one_batch() -> None:
    contents = [plain("RGB", "red", "PNG", side=5), plain("RGB", "blue", "BMP", side=50)]
    batch = decode_images(contents, 4)
    assert batch.shape == (2, 4, 4, 3)
    assert batch[:, 2, 2].numpy().tolist() == [RED, BLUE]
    assert decode_images(tf.constant([], tf.string), 4).shape == (0, 4, 4, 3)


def jpeg_that_claims(width: int, height: int) -> bytes:
    content = plain("RGB", "red", "JPEG")
    return replaced(content, content.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def gif_whose_frame_claims(width: int, height: int) -> bytes:
    content = plain("L", 0, "GIF")
    return replaced(content, content.rindex(b",") + 5, struct.pack("<HH", width, height))


def jpeg_of_scans(scans: int) -> bytes:
    content = plain("L", 0, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


GIF_UP_TO_THE_FRAME = plain("L", 0, "GIF").rpartition(b",")[0]
REFUSED = {
    "PNG bomb": (png_that_claims(22_000, 22_000), "22000 x 22000"),
    "PNG bomb of more than 32 bits": (png_that_claims(2**31 - 1, 2**31 - 1), "x 2147483647"),
    "PNG of no pixels": (png_that_claims(0, 8), "0 x 8 pixels"),
    "JPEG bomb": (jpeg_that_claims(65_000, 65_000), "65000 x 65000"),
    "JPEG of many scans": (jpeg_of_scans(MAX_SCANS + 1), "scans"),
    "JPEG without a frame": (b"\xff\xd8\xff\xe0\x00\x04ab" + b"xx" * 9, "a damaged JPEG"),
    "GIF bomb": (replaced(plain("L", 0, "GIF"), 6, b"\xff" * 4), "65535 x 65535"),
    "GIF bomb in a frame": (gif_whose_frame_claims(65_535, 65_535), "65535 x 65535"),
    "GIF of many blocks": (
        GIF_UP_TO_THE_FRAME + b"!\xfe" + b"\x01x" * MAX_BLOCKS + b"\x00",
        "blocks",
    ),
    "GIF without a frame": (GIF_UP_TO_THE_FRAME + b";" + bytes(20), "a damaged GIF"),
    "BMP bomb": (
        replaced(plain("RGB", 0, "BMP"), 18, struct.pack("<ii", 2**31 - 1, 2**31 - 1)),
        "cut short",
    ),
    "compressed BMP": (replaced(plain("L", 0, "BMP"), 30, b"\x01"), "compressed or 8-bit BMP"),
    "4 bit BMP": (replaced(plain("L", 0, "BMP"), 28, b"\x04"), "compressed or 4-bit BMP"),
    "WebP": (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "beginning with b'RIFF"),
    "nothing": (b"", "an empty file"),
    "too many bytes": (plain("L", 0, "PNG") + bytes(MAX_BYTES), "bytes"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_safe_to_decode_is_refused_by_file_and_graph(
    content: bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        check_image(content)
    assert "\n" not in str(refused.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`image` must be"):
        decode_images([content], 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_an_image_cut_short_is_refused_wherever_it_is_cut(kind: str) -> None:
    content = encoded(Image.fromarray(PIXELS), kind)
    ends = range(len(content) - 1) if kind != "GIF" else range(len(content) - 2)
    for end in ends:
        with pytest.raises(ValueError, match=r".+"):
            image_header(content[:end])
    for end in (10, len(content) // 2, len(content) - 20):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_images([content[:end]], 8)


@pytest.mark.parametrize(
    "make",
    [png_that_claims, jpeg_that_claims, gif_whose_frame_claims],
    ids=lambda make: make.__name__,
)
def test_the_header_tells_width_from_height(make: Callable[[int, int], bytes]) -> None:
    header = image_header(make(300, 20))
    assert (header.width, header.height) == (300, 20)

"""Encoded images to pixels of one size, as graph code of core TensorFlow ops.

What an image claims of itself is checked before it is decoded: a PNG of 58 KB can claim 22,000 x
22,000 pixels and take 13 GB to decode. `nlp_suite.image_header` checks the same in plain Python.
"""

from __future__ import annotations

import tensorflow as tf

from nlp_suite.image_header import (
    BMP,
    BMP_DEPTHS,
    GIF_EXTENSION,
    GIF_FRAME,
    GIFS,
    JPEG,
    JPEG_FRAMES,
    JPEG_SCAN,
    MAX_BLOCKS,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SCANS,
    PNG,
    check_image,
)

__all__ = ["check_image", "decode_images"]

_WHITE = 255
# Shrinking by averages first, to so many times the wanted size, takes a ninth of the time and none
# of the memory of shrinking 25 megapixels by the smoother filter alone.
_SHRINK_FIRST_TO = 4


def decode_images(contents: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes JPEG, PNG, GIF and BMP images to squares of one size.

    The whole image is kept: it is scaled, smoothly and with its aspect ratio, to fit the square,
    and centred on white. Grey, CMYK, 16 bit and palettes become RGB of 8 bit; transparent parts
    of a PNG become white; of a GIF the first frame is taken.

    Args:
        contents: Encoded images, string [batch].
        size: Width and height of the squares, in pixels.

    Returns:
        uint8 [batch, size, size, 3].

    Raises:
        tf.errors.InvalidArgumentError: One of the images is of another kind, larger than
            `MAX_BYTES` or `MAX_PIXELS`, or damaged.

    Example:
        >>> red = tf.io.encode_png(tf.constant([[[255, 0, 0]]], tf.uint8))
        >>> decode_images([red], 2)[0, 1, 0].numpy()
        array([255,   0,   0], dtype=uint8)
    """
    with tf.device("CPU"):
        return tf.map_fn(
            lambda content: _fit(_decode(content), size),
            tf.convert_to_tensor(contents, tf.string),
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
            parallel_iterations=4,
        )


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode(content: tf.Tensor) -> tf.Tensor:
    """Decodes one image that keeps the limits: uint8 [height, width, 3]."""
    length = tf.strings.length(content)
    content = _require(content, length <= MAX_BYTES, f"at most {MAX_BYTES} bytes", length, "bytes")
    known = _begins_with(content, PNG, JPEG, *GIFS, BMP)
    content = _require(content, known, "a JPEG, PNG, GIF or BMP", length, "bytes of another kind")
    # Zeros behind the end, so that a header cut short reads as zeros.
    data = tf.pad(tf.io.decode_raw(content, tf.uint8), [[0, 16]])
    if _begins_with(content, PNG):
        width, height = _number(data, 16, 4), _number(data, 20, 4)
    elif _begins_with(content, JPEG):
        scans = tf.math.count_nonzero((data[:-1] == JPEG_SCAN[0]) & (data[1:] == JPEG_SCAN[1]))
        content = _require(
            content, scans <= MAX_SCANS, f"of at most {MAX_SCANS} scans", scans, "scans"
        )
        width, height = _jpeg_size(data)
    elif _begins_with(content, BMP):
        width, height = _bmp_size(data)
    else:
        width, height, end = _first_gif_frame(data)
        content = tf.strings.substr(content, 0, end) + ";"
    pixels = tf.cast(width, tf.int64) * tf.cast(height, tf.int64)
    within = (width > 0) & (height > 0) & (pixels <= MAX_PIXELS)
    content = _require(
        content, within, f"whole and of at most {MAX_PIXELS} pixels", pixels, "pixels"
    )
    image = tf.io.decode_image(content, expand_animations=False)
    image.set_shape([None, None, None])
    if _begins_with(content, BMP):
        return _bmp_colors(image, data)
    return _on_white(image)


def _require(
    content: tf.Tensor, condition: tf.Tensor, expected: str, received: tf.Tensor, unit: str
) -> tf.Tensor:
    """Gives the content on, once the condition is seen to hold."""
    message = ["`image` must be ", expected, ". Received: ", tf.as_string(received), " ", unit, "."]
    with tf.control_dependencies([tf.debugging.Assert(condition, [tf.strings.join(message)])]):
        return tf.identity(content)


def _begins_with(content: tf.Tensor, *starts: bytes) -> tf.Tensor:
    return tf.reduce_any([tf.strings.substr(content, 0, len(start)) == start for start in starts])


def _number(data: tf.Tensor, at: tf.Tensor, length: int, little: bool = False) -> tf.Tensor:
    """Reads an int32 of 1, 2 or 4 bytes; behind the end of the image there are zeros."""
    at = tf.minimum(at, tf.size(data) - length)
    shifts = [8 * (place if little else length - 1 - place) for place in range(length)]
    digits = tf.cast(data[at : at + length], tf.int32)
    return tf.reduce_sum(tf.bitwise.left_shift(digits, shifts))


def _jpeg_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Walks the segments up to the start of frame; without one the size is 0 x 0."""
    at, blocks = 2, 0
    marker = _number(data, at, 2)
    while marker >= 0xFF00 and not _is_frame(marker) and blocks < MAX_BLOCKS:
        at += tf.where(marker == 0xFFFF, 1, 2 + _number(data, at + 2, 2))
        marker = _number(data, at, 2)
        blocks += 1
    found = tf.cast(_is_frame(marker), tf.int32)
    return found * _number(data, at + 7, 2), found * _number(data, at + 5, 2)


def _is_frame(marker: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(marker == sorted(JPEG_FRAMES))


def _bmp_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the size of a BMP that is not compressed; of another it is 0 x 0."""
    header_size, depth = _number(data, 14, 4, little=True), _number(data, 28, 2, little=True)
    compression = _number(data, 30, 4, little=True)
    plain = (compression == 0) | (compression == 3)
    known = tf.cast(plain & (header_size >= 40) & tf.reduce_any(depth == BMP_DEPTHS), tf.int32)
    width, height = _number(data, 18, 4, little=True), _number(data, 22, 4, little=True)
    return known * width, known * tf.abs(height)


def _first_gif_frame(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Walks the blocks to the end of the first frame: its size, or the screen's, and its end."""
    at = 13 + _gif_colors(_number(data, 10, 1))
    blocks = 0
    while _number(data, at, 1) == GIF_EXTENSION and blocks < MAX_BLOCKS:
        at, blocks = _after_blocks(data, at + 2, blocks)
    found = tf.cast(_number(data, at, 1) == GIF_FRAME, tf.int32)
    width = tf.maximum(_number(data, 6, 2, little=True), _number(data, at + 5, 2, little=True))
    height = tf.maximum(_number(data, 8, 2, little=True), _number(data, at + 7, 2, little=True))
    end, blocks = _after_blocks(data, at + 11 + _gif_colors(_number(data, at + 9, 1)), blocks)
    found *= tf.cast(blocks < MAX_BLOCKS, tf.int32)
    return found * width, found * height, end


def _gif_colors(flags: tf.Tensor) -> tf.Tensor:
    """Gives the length of the table of colours that the flags announce, in bytes."""
    size = tf.bitwise.left_shift(6, tf.bitwise.bitwise_and(flags, 7))
    return tf.where(flags >= 0x80, size, 0)


def _after_blocks(data: tf.Tensor, at: tf.Tensor, blocks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Walks a GIF's chain of blocks, each with its length before it, to the one of length 0."""
    length = _number(data, at, 1)
    while length > 0 and blocks < MAX_BLOCKS:
        at += 1 + length
        length = _number(data, at, 1)
        blocks += 1
    return at + 1, blocks + 1


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Lays an image of 1 (grey) to 4 (RGBA) channels on white: uint8 [height, width, 3]."""
    if tf.shape(image)[2] % 2 == 0:
        # 255 x 255 + 127 still fits 16 bits, which saves half of the memory.
        colors, opacity = tf.cast(image[..., :-1], tf.uint16), tf.cast(image[..., -1:], tf.uint16)
        mixed = colors * opacity + _WHITE * (_WHITE - opacity)
        image = tf.cast((mixed + 127) // 255, tf.uint8)
    if tf.shape(image)[2] == 1:
        image = tf.repeat(image, 3, axis=2)
    return image


def _bmp_colors(image: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Looks up a BMP's palette, or drops its fourth channel, which says nothing of opacity."""
    if tf.shape(image)[2] > 1:
        return image[..., :3]
    start, end = 14 + _number(data, 14, 4, little=True), _number(data, 10, 4, little=True)
    # A palette may be shorter than a pixel's value says: what is missing is black.
    entries = tf.pad(data[start : start + tf.clip_by_value(end - start, 0, 1024)], [[0, 1024]])
    palette = tf.reshape(entries[:1024], [256, 4])[:, 2::-1]
    return tf.gather(palette, tf.cast(image[..., 0], tf.int32))


def _fit(image: tf.Tensor, size: int) -> tf.Tensor:
    """Scales an image to fit a square and centres it on white: uint8 [size, size, 3]."""
    shrunk = _scaled_to(_SHRINK_FIRST_TO * size, image)
    shape = tf.minimum(shrunk, tf.shape(image)[:2])
    image = tf.image.resize(image, shape, "area")
    image = tf.image.resize(image, _scaled_to(size, image), antialias=True)
    beside = size - tf.shape(image)[:2]
    paddings = tf.stack([beside // 2, beside - beside // 2], axis=1)
    image = tf.pad(image, tf.pad(paddings, [[0, 1], [0, 0]]), constant_values=_WHITE)
    return tf.cast(tf.round(tf.ensure_shape(image, [size, size, 3])), tf.uint8)


def _scaled_to(size: int, image: tf.Tensor) -> tf.Tensor:
    """Gives the height and width, int32 [2], of the image scaled so that the longer is `size`."""
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    return tf.maximum(1, tf.cast(tf.round(shape * size / tf.reduce_max(shape)), tf.int32))

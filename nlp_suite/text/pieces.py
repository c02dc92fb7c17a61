"""Pieces of text as bytes: their readable form, and the longest match of them in the graph."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tensorflow as tf

# Valid UTF-8 never holds this byte, so it can stand between texts.
END = 0xFF


def readable(piece: bytes) -> str:
    r"""Writes a piece as text: bytes that are not UTF-8 as ``\xNN``, a backslash doubled.

    Example:
        >>> readable(" café".encode()), readable(" café".encode()[:-1])
        (' café', ' caf\\xc3')
    """
    return piece.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def piece_of(text: str) -> bytes:
    r"""Gives the piece that `readable` wrote.

    Example:
        >>> piece_of(readable(b"\xc3\\ ")) == b"\xc3\\ "
        True
    """
    return re.sub(rb"\\(?:\\|x([0-9a-f]{2}))", _unescape, text.encode())


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else b"\\"


class LongestMatch(tf.Module):
    """Cuts texts into pieces, always taking the longest piece that matches.

    All work is done for all bytes of the batch at once. First the longest piece that begins at each
    byte is found by walking down a trie, one level a step. Then the bytes where a piece really
    begins are those that jumps over longest pieces reach from the start of a text; jump lengths
    double each step, so even a text of 10,000 pieces takes 14 steps.
    """

    def __init__(self, pieces: Sequence[bytes], first_id: int) -> None:
        """Builds the trie.

        Args:
            pieces: What text is cut into; the first 256 are the single bytes in order, so that any
                text can be cut.
            first_id: The id of the first piece.
        """
        super().__init__()
        # Nodes 0 to 255 are the single bytes, so the first level needs no look-up.
        piece_at = list(range(256))
        # No node has the key -1: it is there because a table may not be empty.
        children: dict[int, int] = {-1: -1}
        for index, piece in enumerate(pieces[256:], start=256):
            node = piece[0]
            for byte in piece[1:]:
                child = children.setdefault(node * 256 + byte, len(piece_at))
                if child == len(piece_at):
                    piece_at.append(-1)
                node = child
            piece_at[node] = index
        self._first_id = first_id
        with tf.device("CPU"):
            self._piece_at = tf.constant(piece_at, tf.int32)
            self._lengths = tf.constant([len(piece) for piece in pieces], tf.int32)
            self._children = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(list(children), tf.int64),
                    tf.constant(list(children.values()), tf.int32),
                ),
                -1,
            )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Maps texts, string [batch] of valid UTF-8, to ids, int32 [batch, None]."""
        end = bytes([END])
        data = tf.io.decode_raw(tf.strings.reduce_join(texts + end) + end, tf.uint8)
        data = tf.cast(data, tf.int32)
        pieces = self._longest_pieces(data)
        begins = self._begins(data, pieces)
        pieces_before = tf.cumsum(tf.cast(begins, tf.int64), exclusive=True)
        text_ends = tf.cumsum(tf.strings.length(texts) + 1)
        return tf.RaggedTensor.from_row_splits(
            tf.boolean_mask(pieces, begins) + self._first_id,
            tf.pad(tf.gather(pieces_before, text_ends), [[1, 0]]),
            validate=False,
        )

    def _longest_pieces(self, data: tf.Tensor) -> tf.Tensor:
        """Finds the longest piece that begins at each byte, int32 [bytes]."""
        longest = data
        depth = 1
        # The last byte ends the batch: no piece begins there.
        begin, node = tf.range(tf.size(data) - 1), data[:-1]
        while tf.size(begin) > 0:
            tf.autograph.experimental.set_loop_options(
                shape_invariants=[(begin, tf.TensorShape([None])), (node, tf.TensorShape([None]))]
            )
            step = node * 256 + tf.gather(data, begin + depth)
            node = self._children.lookup(tf.cast(step, tf.int64))
            matching = tf.where(node >= 0)[:, 0]
            begin, node = tf.gather(begin, matching), tf.gather(node, matching)
            piece = tf.gather(self._piece_at, node)
            whole = tf.where(piece >= 0)[:, 0]
            longest = tf.tensor_scatter_nd_update(
                longest, tf.gather(begin, whole)[:, tf.newaxis], tf.gather(piece, whole)
            )
            depth += 1
        return longest

    def _begins(self, data: tf.Tensor, pieces: tf.Tensor) -> tf.Tensor:
        """Finds the bytes at which one of the taken pieces begins, bool [bytes]."""
        inside = data != END
        jump = tf.range(tf.size(data)) + tf.where(inside, tf.gather(self._lengths, pieces), 0)
        begins = tf.concat([[True], ~inside[:-1]], axis=0)
        found = tf.math.count_nonzero(begins)
        found_before = tf.zeros_like(found)
        while found > found_before:
            reached = tf.boolean_mask(jump, begins)[:, tf.newaxis]
            begins = tf.tensor_scatter_nd_update(begins, reached, tf.ones_like(reached[:, 0], bool))
            jump = tf.gather(jump, jump)
            found_before, found = found, tf.math.count_nonzero(begins)
        return begins & inside

"""Characters and subwords over bytes: nothing is unknown and every text comes back exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import tensorflow as tf
from tokenizers import Tokenizer as BytePairEncoding
from tokenizers import models, pre_tokenizers, trainers

from nlp_suite.errors import UserError
from nlp_suite.specials import MAX_CHARACTERS, SPECIALS
from nlp_suite.text.pieces import END, LongestMatch, piece_of, readable
from nlp_suite.text.tokenizer import (
    SequenceTokenizer,
    batches,
    check_vocabulary_size,
    most_frequent,
    valid_text,
)

BYTES = tuple(bytes([byte]) for byte in range(256))
_WORD_END = bytes([END])
# RE2 is eight times faster without capturing groups: (?:...) and \0, not (...) and \1.
_WORD = r" ?[\pL\pM]+(?:['’][\pL\pM]+)*| ?\pN+| ?[^\s\pL\pM\pN]+|\s+"
_LONGEST_PIECE = 24
# The trainer works on characters: each byte is spelled as one letter, the end of a word as a space.
_LETTERS = {byte: chr(0x100 + byte) for byte in range(256)}
_SPELLING = _LETTERS | {END: " "}


class ByteLevelTokenizer(SequenceTokenizer):
    """A tokenizer whose vocabulary holds all 256 single bytes, so that no text is unknown to it."""

    def __init__(self, vocabulary: Sequence[str], max_characters: int = MAX_CHARACTERS) -> None:
        """Makes a tokenizer from a vocabulary; `learn` makes one from texts.

        Args:
            vocabulary: Pieces as `readable` writes them, index = id: the special tokens, the single
                bytes in order, then longer pieces.
            max_characters: Longer texts are cut to so many characters before they are encoded.

        Raises:
            UserError: The vocabulary repeats a piece or does not begin as it must.
        """
        super().__init__(vocabulary, max_characters)
        pieces = [piece_of(piece) for piece in self.vocabulary[len(SPECIALS) :]]
        if tuple(pieces[:256]) != BYTES:
            raise UserError(
                "`vocabulary` must hold the 256 single bytes in order after the special tokens. "
                f"Received: {len(pieces)} pieces. Learn the tokenizer again."
            )
        self._longest_match = LongestMatch(pieces, first_id=len(SPECIALS))

    @classmethod
    def _from_pieces(cls, learned: Iterable[bytes], max_characters: int) -> Self:
        """Makes a tokenizer of the special tokens, the single bytes and what was learned."""
        return cls([*SPECIALS, *map(readable, (*BYTES, *learned))], max_characters)

    def _text_of(self, piece: str) -> bytes:
        return piece_of(piece)

    def _join(self, texts: tf.Tensor) -> tf.Tensor:
        # A model may generate half a character.
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


class CharacterTokenizer(ByteLevelTokenizer):
    r"""Cuts text into characters; a character outside the vocabulary into its UTF-8 bytes.

    Example:
        >>> tokenizer = CharacterTokenizer.learn(["naïve naïve"], 300)
        >>> ids = tokenizer.encode(["ï😀"])
        >>> [tokenizer.vocabulary[id] for id in ids[0].numpy()]
        ['ï', '\\xf0', '\\x9f', '\\x98', '\\x80']
        >>> tokenizer.decode(ids).numpy()[0].decode()
        'ï😀'
    """

    kind = "character"

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        *,
        max_characters: int = MAX_CHARACTERS,
        min_count: int = 2,
    ) -> Self:
        """Learns the most frequent characters beyond ASCII, which the single bytes hold already.

        Args:
            texts: The training texts.
            vocabulary_size: The largest vocabulary wanted, special tokens and bytes included.
            max_characters: Longer texts are cut to so many characters, here and in `encode`.
            min_count: How often a character must occur to be in the vocabulary.

        Raises:
            UserError: There is no text, or `vocabulary_size` leaves no room for the bytes.
        """
        smallest = len(SPECIALS) + len(BYTES)
        check_vocabulary_size(vocabulary_size, smallest)
        counts: Counter[bytes] = Counter()
        for batch in batches(texts):
            text = tf.strings.reduce_join(valid_text(batch, max_characters)).numpy().decode()
            counts.update(character.encode() for character in text if not character.isascii())
        learned = most_frequent(counts, vocabulary_size - smallest, min_count)
        return cls._from_pieces(learned, max_characters)

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Maps texts, string [batch], to ids of characters and bytes, int32 [batch, None]."""
        with tf.device("CPU"):
            return self._longest_match(valid_text(texts, self.max_characters))


class SubwordTokenizer(ByteLevelTokenizer):
    """Cuts text into frequent words and parts of words.

    The vocabulary is learned by byte-pair encoding (Sennrich et al., 2016,
    https://aclanthology.org/P16-1162) over bytes. A word is encoded by taking the longest piece
    that matches, again and again; that needs no list of merges and runs as graph code. A word holds
    the space before it, and a space is put before the first word, so that a word has the same
    pieces wherever it stands; `decode` takes that space away again.

    Example:
        >>> tokenizer = SubwordTokenizer.learn(["low lower lowest", "low slow"], 270)
        >>> ids = tokenizer.encode(["slower 😀"])
        >>> tokenizer.decode(ids).numpy()[0].decode()
        'slower 😀'
    """

    kind = "subword"

    @classmethod
    def learn(
        cls, texts: Iterable[str], vocabulary_size: int, *, max_characters: int = MAX_CHARACTERS
    ) -> Self:
        """Learns pieces of words by byte-pair encoding.

        Args:
            texts: The training texts.
            vocabulary_size: The largest vocabulary wanted, special tokens and bytes included.
            max_characters: Longer texts are cut to so many characters, here and in `encode`.

        Raises:
            UserError: There is no text, or `vocabulary_size` leaves no room for a piece.
        """
        check_vocabulary_size(vocabulary_size, len(SPECIALS) + len(BYTES) + 1)
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary_size - len(SPECIALS),
            min_frequency=2,
            initial_alphabet=list(_LETTERS.values()),
            max_token_length=_LONGEST_PIECE,
            show_progress=False,
        )
        encoding = BytePairEncoding(models.BPE())
        # Words are cut by the graph code that encodes, so both see the same words.
        encoding.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        encoding.train_from_iterator(_spelled_words(batches(texts), max_characters), trainer)
        ids = encoding.get_vocab()
        learned = [_bytes_of(piece) for piece in sorted(ids, key=ids.__getitem__)]
        return cls._from_pieces((piece for piece in learned if len(piece) > 1), max_characters)

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Maps texts, string [batch], to ids of subwords, int32 [batch, None]."""
        with tf.device("CPU"):
            words = tf.strings.split(_end_words(valid_text(texts, self.max_characters)), _WORD_END)
            # Each different word is cut once: text of 4 MB holds 900,000 words, 22,000 different.
            different, index = tf.unique(words.flat_values)
            ids = tf.gather(self._longest_match(different), index)
            return words.with_flat_values(ids).merge_dims(1, 2)

    def _join(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.strings.regex_replace(super()._join(texts), r"\A ", "")


def _end_words(texts: tf.Tensor) -> tf.Tensor:
    """Puts a space before each text that is not empty and a mark behind each word."""
    texts = tf.where(texts == "", "", " " + texts)
    return tf.strings.regex_replace(texts, _WORD, rb"\0" + _WORD_END)


def _spelled_words(texts: Iterable[tf.Tensor], max_characters: int) -> Iterator[str]:
    """Gives each text as words of letters that stand for bytes, a space between words."""
    for batch in texts:
        for text in _end_words(valid_text(batch, max_characters)).numpy():
            yield text.decode("latin-1").translate(_SPELLING)


def _bytes_of(spelled: str) -> bytes:
    """Gives the piece that is spelled so."""
    return bytes(ord(letter) - 0x100 for letter in spelled)

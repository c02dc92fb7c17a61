"""What all vocabularies and texts have in common; models read it without TensorFlow around."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Padding, an unknown word, the beginning and the end of a sequence."""
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
"""The same in readable form, index = id."""
MAX_CHARACTERS = 20_000
"""Longest text that is read whole where the settings do not say else; the longest review of IMDB
has 13,704."""
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
"""A character of a script without spaces between words, as a pattern of the library `regex`."""

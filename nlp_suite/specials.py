"""The token ids that every vocabulary begins with; models read them without TensorFlow around."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Padding, an unknown word, the beginning and the end of a sequence."""
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
"""The same in readable form, index = id."""

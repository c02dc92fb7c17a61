"""Text to token ids and back, as graph code of core TensorFlow ops.

A tokenizer is learned from texts, saved as one JSON file, tracked by the ``tf.Module`` that is
exported, and then runs inside the SavedModel with nothing but TensorFlow around it.
"""

from __future__ import annotations

from nlp_suite.specials import BOS, EOS, PAD, SPECIALS, UNK
from nlp_suite.text.boundaries import with_bos, with_eos
from nlp_suite.text.bytelevel import CharacterTokenizer, SubwordTokenizer
from nlp_suite.text.labels import Labels
from nlp_suite.text.storage import TOKENIZERS, learn_tokenizer, load_tokenizer, save_tokenizer
from nlp_suite.text.tokenizer import Tokenizer
from nlp_suite.text.translation_memory import TranslationMemory
from nlp_suite.text.word import WordTokenizer

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "SPECIALS",
    "TOKENIZERS",
    "UNK",
    "CharacterTokenizer",
    "Labels",
    "SubwordTokenizer",
    "Tokenizer",
    "TranslationMemory",
    "WordTokenizer",
    "learn_tokenizer",
    "load_tokenizer",
    "save_tokenizer",
    "with_bos",
    "with_eos",
]

"""Settings of sentiment analysis."""

from __future__ import annotations

from dataclasses import dataclass

from nlp_suite.config import Config, RecurrentConfig


@dataclass(frozen=True, kw_only=True)
class SentimentConfig(RecurrentConfig, Config):
    """A bidirectional network over word vectors, pooled into one answer a text."""

    units: int = 128
    """Size of each direction's state; larger ones memorise the eight thousand builtin sentences."""
    bidirectional: bool = True
    """Read both ways: a label may be decided by the last words as by the first."""
    pooling: str = "concat"
    """How the outputs of all words become one vector: last, mean, max, concat or attention."""
    vocabulary_size: int = 20_000
    """Most frequent words known; rarer ones share UNK."""
    embedding_units: int = 50
    """Size of the word vectors that are learned, beside the pretrained ones."""
    embeddings: str = "builtin"
    """Pretrained vectors: builtin (GloVe, 50 numbers a word), none, or a text file of GloVe,
    word2vec or fastText vectors, plain or .gz."""


CONFIG = SentimentConfig

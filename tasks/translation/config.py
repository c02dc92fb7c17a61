"""Settings of machine translation."""

from __future__ import annotations

from dataclasses import dataclass

from nlp_suite.config import (
    BidirectionalConfig,
    DataConfig,
    EncoderDecoderConfig,
    GenerationConfig,
)


@dataclass(frozen=True, kw_only=True)
class LanguagePairConfig(DataConfig):
    """Which two languages the data is in."""

    source: str = "en"
    """Language to translate from: a column's name, or the ending of the parallel files."""
    target: str = "de"
    """Language to translate into."""


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(
    EncoderDecoderConfig, BidirectionalConfig, LanguagePairConfig, GenerationConfig
):
    """A bidirectional encoder and a decoder with attention, over subwords of both languages."""

    tokenizer: str = "subword"
    """Pieces of text the model reads and writes: subword, character or word."""
    vocabulary_size: int = 6_000
    """Pieces in the vocabulary that both languages share; technical prose repeats its names."""


CONFIG = TranslationConfig

"""Settings of machine translation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlp_suite.config import (
    BidirectionalConfig,
    DataConfig,
    EncoderDecoderConfig,
    LargeVocabularyConfig,
    Schedule,
    TransferConfig,
)
from nlp_suite.decoding_config import GenerationConfig


@dataclass(frozen=True, kw_only=True)
class LanguagePairConfig(DataConfig):
    """Which two languages the data is in."""

    source: str = "en"
    """Language to translate from: a column's name, or the ending of the parallel files."""
    target: str = "de"
    """Language to translate into."""


@dataclass(frozen=True, kw_only=True)
class HalfTransferConfig(TransferConfig):
    """Starting one half of the network from another run."""

    init_part: Literal["encoder", "decoder"] = "encoder"
    """The half that --init-from starts: the encoder from a language model of the source, or the
    decoder from one of the target (Ramachandran et al. 2017)."""


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(
    EncoderDecoderConfig,
    LargeVocabularyConfig,
    BidirectionalConfig,
    LanguagePairConfig,
    HalfTransferConfig,
    GenerationConfig,
):
    """A bidirectional encoder and a decoder with attention, over subwords of both languages."""

    tokenizer: Literal["subword", "word", "character"] = "subword"
    """Pieces of text the model reads and writes; subwords leave no word unknown."""
    vocabulary_size: int = 4_000
    """Pieces in the vocabulary that both languages share; technical prose repeats its names."""
    dropout: float = 0.2
    """Share of the activations dropped between layers while training; more makes the first passes
    slow, and there is time for a few."""
    epochs: int = 9
    """Passes over the training pairs; with the cosine schedule the number counts."""
    learning_rate: float = 6e-3
    """Peak rate of the optimizer; high, for there is time for a few passes only. On the builtin
    data 2e-3 ends 6 BLEU lower, and 1.6e-2 is too much."""
    schedule: Schedule = "cosine"
    """How the rate changes over the run; cosine ends it with the smallest loss."""
    warmup_steps: int = 200
    """Steps in which the rate rises to its peak, which is high."""
    label_smoothing: float = 0.1
    """Share of the target's probability spread over all tokens; customary for translation."""
    score_seconds: float = 5.0
    """About how long the translations of a validation sample may take after each epoch."""


CONFIG = TranslationConfig

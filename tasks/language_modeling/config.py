"""Settings of language modeling."""

from __future__ import annotations

from dataclasses import dataclass

from nlp_suite.config import GenerationConfig, StreamConfig, TiedConfig


@dataclass(frozen=True, kw_only=True)
class LanguageModelingConfig(TiedConfig, StreamConfig, GenerationConfig):
    """A recurrent network that predicts each next token of one long text."""

    tokenizer: str = "subword"
    """Pieces of text the model reads and writes: subword, character or word."""
    vocabulary_size: int = 6_000
    """Pieces in the vocabulary; the softmax over them is most of the work on a small machine."""


CONFIG = LanguageModelingConfig

"""Settings of language modeling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlp_suite.config import GenerationConfig, StreamConfig, TiedConfig, TransferConfig


@dataclass(frozen=True, kw_only=True)
class LanguageModelingConfig(TiedConfig, StreamConfig, TransferConfig, GenerationConfig):
    """A recurrent network that predicts each next token of one long text."""

    tokenizer: Literal["subword", "word", "character"] = "subword"
    """Pieces of text the model reads and writes; subwords leave no word unknown."""
    vocabulary_size: int = 2_000
    """Pieces in the vocabulary; on a small machine the softmax over them is most of the work."""
    dropout: float = 0.1
    """Share of the activations dropped between layers while training; a few passes over a text
    leave little to be learned by heart, many want 0.3 and more."""
    epochs: int = 5
    """Passes over the training text; with the cosine schedule the number counts."""
    batch_size: int = 32
    """Pieces of the text that are read side by side; fewer make more updates a pass."""
    bptt: int = 35
    """Tokens through which gradients flow back; the state is carried on from window to window."""
    learning_rate: float = 4e-3
    """Peak rate of the optimizer; high, for there is time for a few passes only."""
    schedule: Literal[
        "constant", "inverse_sqrt", "cosine", "one_cycle", "slanted_triangular", "plateau"
    ] = "cosine"
    """How the rate changes over the run; cosine ends it with the smallest loss."""
    warmup_steps: int = 200
    """Steps in which the rate rises to its peak, which is high."""
    decode: Literal["greedy", "beam", "sample"] = "sample"
    """How text is written; the most probable continuation of a prompt is a dull one."""
    temperature: float = 0.7
    """Sampling: below 1 keeps to the probable, above 1 dares more."""
    max_length: int = 60
    """Longest continuation, in tokens."""


CONFIG = LanguageModelingConfig

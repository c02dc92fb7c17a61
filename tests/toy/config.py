"""Settings of the toy task."""

from __future__ import annotations

from dataclasses import dataclass

from nlp_suite.config import BatchSize, Config, RecurrentConfig


@dataclass(frozen=True, kw_only=True)
class ToyConfig(RecurrentConfig, Config):
    """Word vectors, one recurrent layer, and its last output."""

    units: int = 8
    """Size of the word vectors and of the state."""
    epochs: int = 2
    """Enough to see that something is learned."""
    batch_size: BatchSize = 8
    """Examples a step; there are forty."""


CONFIG = ToyConfig

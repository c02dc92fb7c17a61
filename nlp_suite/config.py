"""The settings that tasks share, as flat frozen dataclasses from which flags and help are made.

Each field's docstring gives the reason for its default and becomes the help of its flag. A task's
own configuration inherits what it uses and redeclares a field where another default suits better::

    @dataclass(frozen=True, kw_only=True)
    class SentimentConfig(RecurrentConfig, Config):
        units: int = 128
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every task has: its data and how it is trained."""

    data: str = "builtin"
    """builtin, tfds:NAME[/CONFIG], nltk:CORPUS, or the path of a file or folder."""
    epochs: int = 10
    """Passes over the training examples; early stopping usually ends a run before."""
    batch_size: int = 64
    """Examples a step."""
    learning_rate: float = 1e-3
    """Peak rate of the optimizer; Adam's customary value."""
    max_minutes: float = 0.0
    """Stop training after so many minutes and keep the best weights; 0 sets no limit."""
    seed: int = 0
    """Seeds weights, dropout and the order of examples: the same seed gives the same run."""


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """The recurrent network of a task."""

    cell: str = "lstm"
    """simple, gru or lstm."""
    units: int = 256
    """Size of each recurrent layer's state."""
    depth: int = 1
    """Recurrent layers on top of each other."""
    dropout: float = 0.3
    """Share of activations dropped between layers while training."""


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How text is generated."""

    beam_width: int = 4
    """Hypotheses kept at each step; 1 is greedy decoding."""
    max_length: int = 100
    """Longest generated text, in tokens."""

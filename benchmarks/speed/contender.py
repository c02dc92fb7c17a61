"""What contenders in training have in common."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Round(NamedTuple):
    """Some steps of training.

    Attributes:
        tokens: Tokens read, without padding.
        seconds: How long they took, without setting up.
        loss: Of the last steps, in nats.
        processor_seconds: What all cores together worked in this time.
    """

    tokens: int
    seconds: float
    loss: float
    processor_seconds: float


class Contender(Protocol):
    """Trains a network on a workload, some steps at a time."""

    def train(self, steps: int) -> Round:
        """Goes on for so many steps."""

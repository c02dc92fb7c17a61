"""Settings of sentiment analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlp_suite.config import BatchSize, BidirectionalConfig, Config, TransferConfig


@dataclass(frozen=True, kw_only=True)
class SentimentConfig(BidirectionalConfig, TransferConfig, Config):
    """A recurrent network over word vectors, pooled into one answer a text."""

    units: int = 256
    """Size of each direction's state."""
    dropout: float = 0.5
    """Share of the activations dropped between layers while training; the builtin data is small."""
    pooling: Literal["concat", "last", "max", "mean", "attention"] = "concat"
    """How the outputs of all words become one vector: concat (Howard & Ruder 2018) is last, max and
    mean side by side; attention (Yang et al. 2016) learns what counts."""
    vocabulary_size: int = 20_000
    """Most frequent words that get a learned vector; rarer ones share one."""
    embeddings: str = "builtin"
    """Pretrained vectors beside the learned ones: builtin (GloVe, 50 numbers a word), none, or a
    text file of GloVe, word2vec or fastText vectors, plain or .gz."""
    embedding_dropout: float = 0.3
    """Share of the vocabulary dropped from each batch, whole words at once (Gal & Ghahramani 2016);
    it keeps the network from leaning on single words, of which the builtin data has too few."""
    embedding_units: int = 50
    """Size of the learned and of the pretrained vectors; the builtin ones have 50 numbers."""
    learn_confidence: bool = True
    """Learn the probability of each label, where the data say how sure their labels are, and not
    the labels alone."""
    epochs: int = 8
    """Passes over the training examples; the builtin ones are learned by heart soon after."""
    batch_size: BatchSize = 32
    """Examples a step; small batches make more updates of the few builtin examples. auto tries out
    how many fit."""
    learning_rate: float = 7e-4
    """Peak rate of the optimizer, lower than Adam's customary one for the smaller batches."""
    ema: float = 0.995
    """Share of the old average kept at each step in an average of the weights, which is then what
    is evaluated and kept: steadier from epoch to epoch than the last weights."""

    def __post_init__(self) -> None:
        """Refuses pretrained vectors beside those of another run.

        Raises:
            UserError: When there are both, or a number makes no sense.
        """
        super().__post_init__()
        self.check_transfer()


CONFIG = SentimentConfig

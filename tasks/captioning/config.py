"""Settings of image captioning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlp_suite.config import (
    EncoderDecoderConfig,
    FinetuningConfig,
    RewardConfig,
    Schedule,
)
from nlp_suite.decoding_config import Decode, DecodingConfig, GenerationConfig
from nlp_suite.errors import UserError


@dataclass(frozen=True, kw_only=True)
class NeighbourConfig(DecodingConfig):
    """How captions of similar images have a say."""

    neighbours: int = 8
    """Training images most like an image whose captions have a say in --decode consensus, and can
    be its choice (Devlin et al. 2015); 0 asks none. With lite0 alone: the features of other
    encoders change while they learn."""
    neighbour_share: float = 0.5
    """How much they count in all, from 0 to 1; the hypotheses of the network count the rest."""


@dataclass(frozen=True, kw_only=True)
class CaptioningConfig(
    NeighbourConfig, EncoderDecoderConfig, FinetuningConfig, RewardConfig, GenerationConfig
):
    """A convolutional encoder and a recurrent decoder with attention over image regions."""

    image_encoder: str = "lite0"
    """lite0 (EfficientNet-Lite0, which comes along and knows ImageNet; its features are computed
    once), small (trained from scratch), or the name of a keras.applications model whose ImageNet
    weights are downloaded, such as EfficientNetV2B0 for photographs."""
    frozen_epochs: int = 3
    """Epochs in which a keras.applications encoder keeps its ImageNet weights, until the decoder
    above it has settled; -1 never changes them."""
    image_size: int = 128
    """Images are fitted into squares of so many pixels; lite0 sees a region in each 32 x 32."""
    tokenizer: Literal["word", "subword", "character"] = "word"
    """Pieces of text the model writes; captions of few words are learned best word by word."""
    vocabulary_size: int = 5_000
    """Most frequent pieces known."""
    epochs: int = 30
    """Passes over the training captions; with lite0 only the decoder is trained, which is quick."""
    learning_rate: float = 2e-3
    """Peak rate of the optimizer; captions of a few words bear a high one."""
    schedule: Schedule = "cosine"
    """How the rate changes over the run; cosine ends it with the smallest loss."""
    label_smoothing: float = 0.1
    """Share of the target's probability spread over all tokens; names of things are debatable."""
    activation_regularization: float = 2.0
    """L2 penalty on the outputs of the decoder's layers, AR; captions repeat each other less."""
    temporal_regularization: float = 1.0
    """L2 penalty on the change of the outputs from step to step, TAR (Merity et al. 2017)."""
    patience: int = 0
    """Epochs without a better validation score before the run stops; captions go on improving when
    the score stands still for a while, so 0: never."""
    score_seconds: float = 5.0
    """About how long the captions of a validation sample may take after each epoch."""
    decode: Decode = "consensus"
    """beam keeps several hypotheses and finds better captions than greedy; consensus chooses among
    them and the captions of similar images the one that has most in common with the others; sample
    draws at random."""
    beam_width: int = 8
    """Hypotheses kept at each step of beam search; a consensus is the better the more there are."""
    max_length: int = 30
    """Longest caption, in tokens."""
    memory_size: int = 4_096
    """Captions remembered with the features of their images, for --neighbours: all the builtin
    ones, of larger data as many at even distances, but none of more than 32 tokens; 4,096 take
    11 MB of the weights."""

    def __post_init__(self) -> None:
        """Refuses settings that do not go together.

        Raises:
            UserError: When a run might stop before the epochs with rewards come, or has no others,
                or a number makes no sense.
        """
        super().__post_init__()
        if not 0 <= self.neighbour_share <= 1:
            raise UserError(
                "`neighbour_share` must be from 0 to 1. "
                f"Received: neighbour_share={self.neighbour_share}. Try 0.5."
            )
        if self.reward_epochs and self.patience:
            raise UserError(
                "`patience` must be 0 with reward_epochs, which come last. Received: "
                f"patience={self.patience}, reward_epochs={self.reward_epochs}. Pass --patience 0."
            )
        if self.reward_epochs >= self.epochs:
            raise UserError(
                "`reward_epochs` must be fewer than epochs, for a network has to learn to write "
                f"before it learns from rewards. Received: reward_epochs={self.reward_epochs}, "
                f"epochs={self.epochs}. Pass --reward-epochs 0, or more --epochs."
            )


CONFIG = CaptioningConfig

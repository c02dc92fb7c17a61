"""Settings of image captioning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nlp_suite.config import EncoderDecoderConfig, FinetuningConfig, GenerationConfig


@dataclass(frozen=True, kw_only=True)
class CaptioningConfig(EncoderDecoderConfig, FinetuningConfig, GenerationConfig):
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
    max_length: int = 30
    """Longest caption, in tokens."""


CONFIG = CaptioningConfig

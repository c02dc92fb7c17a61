"""Settings of image captioning."""

from __future__ import annotations

from dataclasses import dataclass

from nlp_suite.config import EncoderDecoderConfig, GenerationConfig


@dataclass(frozen=True, kw_only=True)
class CaptioningConfig(EncoderDecoderConfig, GenerationConfig):
    """A convolutional encoder and a recurrent decoder with attention over image regions."""

    image_size: int = 64
    """Images are scaled to squares of so many pixels; the builtin ones are 64 wide."""
    image_encoder: str = "small"
    """small, a network trained from scratch, or the name of a keras.applications model with
    ImageNet weights, such as EfficientNetV2B0 for photographs."""
    tokenizer: str = "word"
    """Pieces of text the model writes: word, subword or character."""
    vocabulary_size: int = 5_000
    """Most frequent pieces known."""


CONFIG = CaptioningConfig

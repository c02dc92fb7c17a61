"""Building blocks of recurrent networks, in Keras 3 alone, so they run under every backend.

Sequences are right-padded, and masks are explicit: `mask=`, bool [batch, time], True at real steps.
States are plain tuples of tensors, given and returned. A row that is all padding is harmless.
"""

from nlp_suite.layers.attention import Attention
from nlp_suite.layers.bidirectional import BidirectionalRNN
from nlp_suite.layers.bridge import Bridge
from nlp_suite.layers.building import (
    build_decoder,
    build_embedding,
    build_encoder_stack,
    build_image_encoder,
    build_logits,
    build_scheduled_sampling,
    build_stack,
    initialize_embedding,
    load_embeddings,
    tower,
)
from nlp_suite.layers.decoder import Decoder
from nlp_suite.layers.embeddings import Logits, TiedLogits, TokenEmbedding
from nlp_suite.layers.finetuning import (
    finetune,
    finetune_in_turn,
    freeze_until,
    rate_scales,
    scale_rate,
    thaw,
)
from nlp_suite.layers.images import ImageEncoder, PretrainedImageEncoder
from nlp_suite.layers.lazy_logits import Candidates, LazyLogits, draw_candidates
from nlp_suite.layers.pooling import Pooling
from nlp_suite.layers.regularizers import (
    ActivationRegularization,
    ByteDropout,
    VariationalDropout,
)
from nlp_suite.layers.rnn import WeightDrop, disable_cudnn, rnn
from nlp_suite.layers.scheduled_sampling import ScheduledSampling, grow_sampling
from nlp_suite.layers.stacks import RNNStack
from nlp_suite.layers.vectors import FittedVectors, fit_vectors, read_vectors

__all__ = [
    "ActivationRegularization",
    "Attention",
    "BidirectionalRNN",
    "Bridge",
    "ByteDropout",
    "Candidates",
    "Decoder",
    "FittedVectors",
    "ImageEncoder",
    "LazyLogits",
    "Logits",
    "Pooling",
    "PretrainedImageEncoder",
    "RNNStack",
    "ScheduledSampling",
    "TiedLogits",
    "TokenEmbedding",
    "VariationalDropout",
    "WeightDrop",
    "build_decoder",
    "build_embedding",
    "build_encoder_stack",
    "build_image_encoder",
    "build_logits",
    "build_scheduled_sampling",
    "build_stack",
    "disable_cudnn",
    "draw_candidates",
    "finetune",
    "finetune_in_turn",
    "fit_vectors",
    "freeze_until",
    "grow_sampling",
    "initialize_embedding",
    "load_embeddings",
    "rate_scales",
    "read_vectors",
    "rnn",
    "scale_rate",
    "thaw",
    "tower",
]

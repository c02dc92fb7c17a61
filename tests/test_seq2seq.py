"""The encoder-decoder's parts."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops
from layer_checks import assert_close

from nlp_suite.layers import RNNStack, TokenEmbedding
from nlp_suite.seq2seq import TextEncoder
from nlp_suite.specials import PAD

TOKENS = np.array([[5, 6, 7], [8, PAD, PAD]], "int32")


@pytest.mark.parametrize("units", [4, 3])
def test_a_lexical_memory_adds_each_word_to_its_place(units: int) -> None:
    embedding, stack = TokenEmbedding(9, 4), RNNStack("gru", units)
    lexical = TextEncoder(embedding, stack, lexical=True)
    memory, mask, state = lexical(TOKENS)
    plain, _, plain_state = TextEncoder(embedding, stack)(TOKENS)
    words = ops.take(embedding.embeddings, TOKENS, axis=0)
    if lexical.projection is not None:
        words = words @ lexical.projection.kernel
    assert_close(memory, plain + words * mask[..., None].numpy(), 1e-6)
    assert_close(state, plain_state, 0)
    assert not np.any(memory[1, 1:])


def test_words_that_fit_need_no_projection() -> None:
    encoder = TextEncoder(TokenEmbedding(9, 4), RNNStack("gru", 4), lexical=True)
    encoder(TOKENS)
    assert encoder.projection is None
    assert encoder.count_params() == sum(
        part.count_params() for part in (encoder.embedding, encoder.stack)
    )

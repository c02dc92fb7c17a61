"""Logits that are left to the loss, which need not compute all of them, or not all at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops


class Candidates(NamedTuple):
    """Tokens drawn from a vocabulary, to stand for all of it.

    Attributes:
        ids: int32 [candidates], no token twice.
        log_chances: Logarithm of each token's chance of being drawn, float32 [vocabulary].
    """

    ids: Any
    log_chances: Any


class LazyLogits(NamedTuple):
    """The factors of logits, which are `hidden @ transpose(kernel) + bias`.

    Attributes:
        hidden: What scores the vocabulary, float [batch, time, features].
        kernel: A vector for each token, float32 [vocabulary, features].
        bias: float32 [vocabulary].
        candidates: The tokens that the targets are to be told from; None for the whole vocabulary.
    """

    hidden: Any
    kernel: Any
    bias: Any
    candidates: Candidates | None = None


def draw_candidates(
    vocabulary_size: int, count: int, seed: keras.random.SeedGenerator
) -> Candidates:
    """Draws tokens without replacement, frequent ones rather than rare ones.

    A token's probability falls with its id as in a Zipf distribution (log-uniform): vocabularies
    stand in the order of falling frequency. Each token arrives at a random time, sooner if it is
    probable, and the first ones are taken; the chance of a token is that it arrives before the
    first one that is too late (Kool et al. 2019, https://arxiv.org/abs/1903.06059).

    Args:
        vocabulary_size: Number of ids.
        count: Tokens to draw, at most all.
        seed: Where the randomness comes from.

    Example:
        >>> drawn = draw_candidates(3, 3, keras.random.SeedGenerator(0))
        >>> sorted(ops.convert_to_numpy(drawn.ids).tolist())
        [0, 1, 2]
        >>> ops.convert_to_numpy(ops.exp(drawn.log_chances)).tolist()
        [1.0, 1.0, 1.0]
    """
    ranks = ops.arange(1, vocabulary_size + 1, dtype="float32")
    rates = ops.log1p(1 / ranks)
    uniform = keras.random.uniform((vocabulary_size,), seed=seed)
    arrivals = ops.append(-ops.log1p(-uniform) / rates, ops.array([float("inf")]))
    earliest, ids = ops.top_k(-arrivals, count + 1)
    chances = -ops.expm1(rates * earliest[count])
    return Candidates(ids[:count], ops.log(chances))

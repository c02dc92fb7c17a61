"""A neural cache: words that came in like states before are likely to come again.

Source: Grave et al. 2017, https://arxiv.org/abs/1612.04426.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

THETAS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
LAMBDAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
"""What is tried on the validation split."""


class NeuralCache:
    """Remembers the states of the latest tokens of several texts, and which token came next.

    At state h, the token w has the probability of softmax(theta h·h') over the remembered states
    h', summed where w came next.

    Args:
        size: Tokens remembered.
        thetas: How much liker states count for more; each is an answer of its own.

    Example:
        After `a` came `b` in one state and `c` in another one; now the first state is back:

        >>> cache = NeuralCache(size=2, thetas=[np.log(3)])
        >>> states = np.float32([[[1, 0], [0, 1], [1, 0]]])
        >>> cache.probabilities(states, np.array([[7, 8, 7]])).round(6).tolist()
        [[[nan, 0.0, 0.75]]]
    """

    def __init__(self, size: int, thetas: Sequence[float]) -> None:
        self.size = size
        self.thetas = thetas
        self._states: Array | None = None
        self._tokens: Array | None = None

    def probabilities(self, states: Array, tokens: Array) -> Array:
        """Gives the probability of each token, and remembers it for the next ones.

        Args:
            states: The network's outputs before each token, float32 [texts, time, units].
            tokens: The tokens that came next, int32 [texts, time].

        Returns:
            float [thetas, texts, time]; nan where nothing is remembered.
        """
        if self._states is not None and self._tokens is not None:
            known_states = np.concatenate([self._states, states], axis=1)
            known_tokens = np.concatenate([self._tokens, tokens], axis=1)
        else:
            known_states, known_tokens = states, tokens
        likeness = states @ known_states.swapaxes(1, 2)
        likeness[:, ~self._is_remembered(*likeness.shape[1:])] = -np.inf
        is_same = tokens[:, :, None] == known_tokens[:, None, :]
        self._states, self._tokens = known_states[:, -self.size :], known_tokens[:, -self.size :]
        return np.stack([_share(theta * likeness, is_same) for theta in self.thetas])

    def _is_remembered(self, now: int, known: int) -> npt.NDArray[np.bool_]:
        """Tells which of the known places each new one remembers, bool [now, known]."""
        distance = known - now + np.arange(now)[:, None] - np.arange(known)
        return (distance > 0) & (distance <= self.size)


def mixed(gains: Array, cached: Array, share: float) -> Array:
    """Mixes the probabilities of a network and of its cache.

    Args:
        gains: Log-probabilities of the network, float [tokens].
        cached: Probabilities of the cache, float [tokens]; the network's alone count where nan.
        share: The cache's share.

    Returns:
        Log-probabilities, float [tokens].

    Example:
        >>> np.exp(mixed(np.log([0.5, 0.5]), np.array([np.nan, 0.25]), 0.5)).tolist()
        [0.5, 0.375]
    """
    own = np.exp(np.float64(gains))
    return np.log(np.where(np.isnan(cached), own, (1 - share) * own + share * cached))


def best_mixture(
    gains: Array, cached: Array, thetas: Sequence[float], shares: Sequence[float]
) -> tuple[float, float]:
    """Chooses how a cache and a network predict best together.

    Args:
        gains: Log-probabilities of the network, float [tokens].
        cached: Probabilities of the cache, float [thetas, tokens].
        thetas: What the rows of `cached` were made with.
        shares: The shares to try.

    Returns:
        The best theta and the best share.

    Example:
        The cache is right where the network is not sure:

        >>> gains, cached = np.log([0.5, 0.5]), np.array([[1.0, 1.0], [0.0, 0.0]])
        >>> best_mixture(gains, cached, [0.1, 0.2], [0.1, 0.3])
        (0.1, 0.3)
    """
    tried = itertools.product(range(len(thetas)), shares)
    row, share = max(tried, key=lambda pair: float(mixed(gains, cached[pair[0]], pair[1]).sum()))
    return thetas[row], share


def _share(scores: Array, is_same: npt.NDArray[np.bool_]) -> Array:
    """Sums the softmax over remembered places where the token was the same; nan without any."""
    top = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    with np.errstate(invalid="ignore"):
        return (weights * is_same).sum(axis=-1) / weights.sum(axis=-1)

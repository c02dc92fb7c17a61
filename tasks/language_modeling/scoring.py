"""The probability of every token of one long text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nlp_suite.errors import UserError
from nlp_suite.text import PAD
from tasks.language_modeling.cache import NeuralCache

LANES = 16
"""Pieces in which a text is scored side by side."""
WINDOW = 128
"""Tokens scored in one call, and read before each piece but the first: what came earlier hardly
matters any more."""


def score_tokens(model: keras.Model, inputs: Any, targets: Any) -> Any:
    """Scores every token of one long text.

    Args:
        model: A language model, or several as one.
        inputs: What is read, int32 [tokens].
        targets: What comes next, int32 [tokens].

    Returns:
        float32 [tokens], natural logarithms.
    """

    def score(tokens: Any, following: Any, state: Any) -> tuple[Any, Any]:
        logits, state = model.call_with_state({"tokens": tokens}, state, training=False)
        return _gains(logits, following), state

    windows = [gains for gains, _ in _windows(model, score, inputs, targets)]
    return _joined(windows, len(inputs))


def score_with_cache(
    model: keras.Model, inputs: Any, targets: Any, cache: NeuralCache
) -> tuple[Any, Any]:
    """Scores every token of one long text by the network and by a cache of its states.

    Args:
        model: A language model.
        inputs: What is read, int32 [tokens].
        targets: What comes next, int32 [tokens].
        cache: An empty cache; every lane has its own part of it.

    Returns:
        The network's log-probabilities, float32 [tokens], and the cache's probabilities, float
        [thetas, tokens], nan at the beginning of each lane.

    Raises:
        UserError: When the model is an ensemble, which has no common states.
    """
    if not hasattr(model, "read"):
        raise UserError(
            "`cache_size` must be 0 for an ensemble, whose members have states of their own. "
            f"Received: cache_size={cache.size}. Evaluate one run."
        )

    def score(tokens: Any, following: Any, state: Any) -> tuple[Any, Any]:
        outputs, state = model.read({"tokens": tokens}, state, training=False)
        gains = _gains(model.logits(outputs), following)
        return (gains, tf.cast(outputs, tf.float32)), state

    gains, cached = [], []
    for (gain, outputs), following in _windows(model, score, inputs, targets):
        gains.append(gain)
        cached.append(cache.probabilities(outputs.numpy(), following))
    return _joined(gains, len(inputs)), _joined(cached, len(inputs))


def _windows(model: keras.Model, score: Any, inputs: Any, targets: Any) -> Iterator[Any]:
    """Scores window after window; yields what `score` gives, and the tokens scored."""
    lanes = min(LANES, len(inputs))
    length = -(-len(inputs) // lanes)
    padding = (0, lanes * length - len(inputs))
    tokens = np.pad(inputs, padding, constant_values=PAD).reshape(lanes, length)
    following = np.pad(targets, padding, constant_values=PAD).reshape(lanes, length)
    traced = tf.function(score, reduce_retracing=True)
    state = _first_states(model, tokens)
    for begin in range(0, length, WINDOW):
        window = slice(begin, begin + WINDOW)
        scored, state = traced(tokens[:, window], following[:, window], state)
        yield scored, following[:, window]


def _first_states(model: keras.Model, tokens: Any) -> Any:
    """Reads the end of every lane, after which the next one begins; the first begins at zero."""
    start, lanes = model.zero_state(1), len(tokens) - 1
    if not lanes:
        return start
    ends = {"tokens": tokens[:-1, -WINDOW:]}
    _, read = model.call_with_state(ends, model.zero_state(lanes), training=False)
    return keras.tree.map_structure(lambda *parts: tf.concat(parts, axis=0), start, read)


def _gains(logits: Any, targets: Any) -> Any:
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)


def _joined(windows: list[Any], tokens: int) -> Any:
    """Joins [..., lanes, time] windows, lane after lane, to [..., tokens]."""
    lanes = np.concatenate([np.asarray(window) for window in windows], axis=-1)
    return lanes.reshape(*lanes.shape[:-2], -1)[..., :tokens]

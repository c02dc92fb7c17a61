"""Self-critical training: a model learns from what it writes by chance better than by habit.

Texts are drawn from the model, and each is made more or less probable by as much as its reward is
above or below that of the most probable text, by which the reward's own scale falls out: the
gradient is that of `-(reward(drawn) - reward(greedy)) * log p(drawn)`. Any reward of a whole text
will do; it needs no gradient.

Source: Rennie et al. 2017, https://arxiv.org/abs/1612.00563.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nlp_suite.answering import Tensors
from nlp_suite.decoding import greedy, sample
from nlp_suite.specials import BOS
from nlp_suite.task import Rollout

Array = np.ndarray[Any, Any]
Reward = Callable[[Array, Array], Array]
"""(what was written, what is right, both int32 [batch, time]) -> float32 [batch]."""


def self_critical(reward: Reward, max_length: int) -> Rollout:
    """Makes what a task gives as its `rollout`.

    Args:
        reward: Scores texts in token ids, ended by EOS if they came to an end and then padded.
        max_length: Most tokens to write, EOS included.

    Returns:
        From a batch to the texts drawn for its sources, and their gain: float32 [batch, 1].
        The model is one that `start`s from a source and takes `step`s, as an `EncoderDecoder` does.
        Texts are drawn without dropout, and learned from without it.
    """

    def rollout(
        model: keras.Model, inputs: Tensors, targets: Any, seed: Any
    ) -> tuple[Tensors, Any, Any]:
        started = model.start(inputs["source"])
        most_probable = greedy(model.step, *started, max_length=max_length)
        drawn = sample(model.step, *started, max_length=max_length, seed=seed, independent=True)
        tokens = drawn.tokens[:, 0]
        gain = _score(reward, tokens, targets) - _score(reward, most_probable.tokens[:, 0], targets)
        begin = tf.fill([tf.shape(tokens)[0], 1], BOS)
        read = tf.concat([begin, tokens[:, :-1]], axis=1)
        return {**inputs, "tokens": read}, tokens, gain[:, tf.newaxis]

    return rollout


def _score(reward: Reward, tokens: Any, targets: Any) -> Any:
    """Calls Python from the graph for the reward of each row, float32 [batch]."""
    scores = tf.numpy_function(reward, [tokens, targets], tf.float32, stateful=False)
    return tf.ensure_shape(scores, [None])

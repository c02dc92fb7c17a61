"""Translating with this project's searches in the graph, and with a Python loop over its steps.

Weights are random, so each text is made to end where its reference does: real lengths, and the same
work for all contenders.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.speed.ours import make_task
from benchmarks.speed.workloads import Array, Workload, cut, sources_to_translate
from nlp_suite import devices
from nlp_suite.decoding import beam_search, greedy
from nlp_suite.specials import BOS, EOS, PAD

FORBIDDEN = (PAD, BOS, EOS)


class OurDecoding:
    """Translates batches of token ids.

    Args:
        folder: Where the workload of translation lies.
    """

    def __init__(self, folder: Path) -> None:
        self.sources, self.lengths = sources_to_translate(Workload.load(folder))
        task = make_task("translation", folder)
        keras.utils.set_random_seed(0)
        devices.configure(task.config)
        self.model = task.build_model()  # float32, as `predict` and exports have it
        self._search = cache(self._trace)

    def seconds(self, beam_width: int, batch_size: int) -> float:
        """Translates all sentences, so many together, and gives the time."""
        began = perf_counter()
        self.texts(beam_width, batch_size)
        return perf_counter() - began

    def texts(self, beam_width: int, batch_size: int) -> list[Array]:
        """Translates all sentences, so many together, int32 [batch, time] each."""
        search = self._search(beam_width)
        return [
            search(self.sources.rows(rows), self.lengths[rows]).numpy()
            for rows in cut(np.arange(len(self.lengths)), batch_size)
        ]

    def _trace(self, beam_width: int) -> Any:
        """Traces the search once, for batches of any size."""

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ],
            autograph=False,
        )
        def search(source: Any, lengths: Any) -> Any:
            state, context = self.model.start(source)
            rules: dict[str, Any] = {"max_length": lengths, "forbidden": FORBIDDEN}
            if beam_width == 1:
                return greedy(self.model.step, state, context, **rules).tokens[:, 0]
            found = beam_search(self.model.step, state, context, beam_width=beam_width, **rules)
            return found.tokens[:, 0]

        return search


class PythonLoop(OurDecoding):
    """Translates one sentence after the other, and calls the model at each step.

    The search is what people write around a model: arrays in Python, here with the model's two
    parts as traced functions. It finds the same texts.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._begin = tf.function(self.model.start, reduce_retracing=True, autograph=False)
        self._step = tf.function(self._next, reduce_retracing=True, autograph=False)

    def texts(self, beam_width: int, batch_size: int) -> list[Array]:
        """Translates all sentences; `batch_size` can only be 1.

        Raises:
            ValueError: If it is not.
        """
        if batch_size != 1:
            raise ValueError(
                f"`batch_size` must be 1 for a loop. Received: batch_size={batch_size}."
            )
        rows = range(len(self.lengths))
        return [
            self._translate(self.sources.rows(np.array([row])), self.lengths[row], beam_width)
            for row in rows
        ]

    def _translate(self, source: Array, length: int, beam_width: int) -> Array:
        """Keeps the best hypotheses of one sentence, step by step."""
        start = self._begin(source)
        state, context = tf.nest.map_structure(lambda x: tf.repeat(x, beam_width, axis=0), start)
        tokens = np.full(beam_width, BOS, np.int32)
        scores = np.where(np.arange(beam_width) == 0, 0.0, -np.inf)
        texts = np.zeros((beam_width, 0), np.int32)
        for _ in range(length):
            gains, state = self._step(tokens, state, context)
            totals = (scores[:, None] + gains.numpy()).ravel()
            best = np.argsort(-totals)[:beam_width]
            rows, tokens = np.divmod(best, gains.shape[1])
            scores, tokens = totals[best], tokens.astype(np.int32)
            state = tf.nest.map_structure(lambda x, rows=rows: tf.gather(x, rows), state)
            texts = np.concatenate([texts[rows], tokens[:, None]], axis=1)
        return texts[:1]

    def _next(self, tokens: Any, state: Any, context: Any) -> tuple[Any, Any]:
        """Scores what may follow, float32 [beams, vocabulary]."""
        logits, state, _ = self.model.step(tokens, state, context)
        is_allowed = ~tf.reduce_any(tf.range(logits.shape[-1])[:, None] == FORBIDDEN, axis=1)
        return tf.where(is_allowed, tf.nn.log_softmax(logits), -np.inf), state

"""Sentiment analysis end to end in stock Keras: text into `model.predict`."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import keras
import tensorflow as tf

from benchmarks.speed.our_answers import median_seconds, texts
from benchmarks.speed.ours import make_task
from benchmarks.speed.stock_keras import sentiment
from benchmarks.speed.workloads import Workload


class StockAnswers:
    """Answers with `model.predict` in its default batches.

    Args:
        folder: Where the workload of sentiment analysis lies.
        count: Texts to answer.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.texts = texts(make_task("sentiment"), count)
        workload = Workload.load(folder)
        network = sentiment(workload)
        vectorize = keras.layers.TextVectorization(
            workload.vocabularies["text"],
            output_sequence_length=workload.fixed_lengths["tokens"],
        )
        vectorize.adapt(self.texts)
        text = keras.Input([1], dtype="string")
        probabilities = keras.layers.Softmax()(network({"tokens": vectorize(text)}))
        self.model = keras.Model(text, probabilities)

    def seconds(self) -> float:
        """Answers all texts, and gives the time."""
        given = tf.constant(self.texts)[:, tf.newaxis]
        began = perf_counter()
        self.model.predict(given, verbose=0)
        return perf_counter() - began

    def latency(self) -> float:
        """Gives the median time in seconds that one text takes."""
        return median_seconds(
            lambda text: self.model.predict(tf.constant([[text]]), verbose=0), self.texts
        )

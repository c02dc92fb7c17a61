"""Tiny tasks with which training is tested: a bag of words and a recurrent language model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from nlp_suite.config import BatchSize, Config, StreamConfig
from nlp_suite.datasets import Example, Examples
from nlp_suite.task import Task
from nlp_suite.text import WordTokenizer

WORDS = ("bad", "good", "film", "plot", "really", "quite", "an", "old")


def texts(count: int) -> list[Example]:
    """Makes sentences of 1 to 7 words; those with more of `good` than of `bad` are labelled 1."""
    rows: list[Example] = []
    for i in range(count):
        words = [WORDS[(i * i + 3 * j * i + j) % len(WORDS)] for j in range(1 + i % 7)]
        label = int(words.count("good") > words.count("bad"))
        rows.append({"text": " ".join(words), "label": str(label)})
    return rows


class InMemory:
    """A data set of a few rows."""

    def __init__(self, rows: list[Example]) -> None:
        self.rows = rows

    def examples(self, split: str) -> Examples:
        """Gives all rows for training, and the first 20 for validation."""
        rows = self.rows if split == "train" else self.rows[:20]
        return Examples(lambda: iter(rows), len(rows))


@dataclass(frozen=True, kw_only=True)
class TinyConfig(StreamConfig, Config):
    epochs: int = 2
    batch_size: BatchSize = 8
    bptt: int = 5
    rows: int = 60
    units: int = 6
    dropout: float = 0.2


class TinyClassifier(Task[TinyConfig]):
    name = "tiny"
    config_class = TinyConfig
    serving_inputs = {"text": tf.TensorSpec([None], tf.string)}
    monitor = "accuracy"

    def open_dataset(self) -> Any:
        return InMemory(texts(self.config.rows))

    def learn_tokenizers(self, examples: Examples) -> dict[str, Any]:
        return {"text": WordTokenizer.learn((str(e["text"]) for e in examples), 20)}

    def encode(self, batch: Any) -> Any:
        tokens = self.tokenizers["text"].encode(batch["text"])
        return {"tokens": tokens}, tf.strings.to_number(batch["label"], tf.int32)

    def build_model(self) -> keras.Model:
        tokens = keras.Input([None], dtype="int32", name="tokens")
        x = keras.layers.Embedding(
            self.tokenizers["text"].vocabulary_size, self.config.units, mask_zero=True
        )(tokens)
        x = keras.layers.Dropout(self.config.dropout)(x)
        x = keras.layers.GlobalAveragePooling1D()(x)
        logits = keras.layers.Dense(2, dtype="float32")(x)
        return keras.Model({"tokens": tokens}, logits)

    def predict(self, model: keras.Model, inputs: Any) -> Any:
        tokens = self.tokenizers["text"].encode(inputs["text"]).to_tensor()
        return {"probability": tf.nn.softmax(model({"tokens": tokens}))[:, 1]}

    def measure(self, examples: Iterable[Example], predictions: Any) -> dict[str, float]:
        hits = [
            (p["probability"] > 0.5) == (e["label"] == "1")
            for e, p in zip(examples, predictions, strict=True)
        ]
        return {"accuracy": sum(hits) / len(hits)}


@keras.saving.register_keras_serializable("tests")
class TinyNetwork(keras.Model):
    """A GRU language model whose state can be carried on."""

    def __init__(self, vocabulary_size: int, units: int, dropout: float) -> None:
        super().__init__()
        self.units = units
        self.embedding = keras.layers.Embedding(vocabulary_size, units)
        self.rnn = keras.layers.GRU(units, return_sequences=True, return_state=True)
        self.dropout = keras.layers.Dropout(dropout)
        self.logits = keras.layers.Dense(vocabulary_size, dtype="float32")

    def zero_state(self, batch_size: int) -> list[Any]:
        return [tf.zeros([batch_size, self.units], self.compute_dtype)]

    def call_with_state(self, inputs: Any, state: list[Any], training: bool = False) -> Any:
        x = self.embedding(inputs["tokens"])
        x, after = self.rnn(x, initial_state=state, training=training)
        return self.logits(self.dropout(x, training=training)), [after]

    def call(self, inputs: Any, training: bool = False) -> Any:
        batch_size = tf.shape(inputs["tokens"])[0]
        return self.call_with_state(inputs, self.zero_state(batch_size), training)[0]


class TinyLanguageModel(TinyClassifier):
    name = "tiny_lm"
    monitor = "loss"
    higher_is_better = False
    carries_state = True

    def encode(self, batch: Any) -> Any:
        tokens = self.tokenizers["text"].encode(batch["text"])
        return {"tokens": tokens}, tokens[:, ::-1]

    def build_model(self) -> keras.Model:
        config = self.config
        size = self.tokenizers["text"].vocabulary_size
        model = TinyNetwork(size, config.units, config.dropout)
        model({"tokens": tf.zeros([1, 1], tf.int32)})
        return model

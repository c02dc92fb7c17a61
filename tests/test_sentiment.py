"""What sentiment analysis learns from: the probabilities that people give to labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from layer_checks import arrays, random

from nlp_suite.datasets import Example, Examples
from nlp_suite.specials import SPECIALS
from nlp_suite.text import Labels, WordTokenizer
from tasks.sentiment.config import SentimentConfig
from tasks.sentiment.task import Sentiment


@pytest.fixture
def task() -> Sentiment:
    tokenizers = {
        "text": WordTokenizer.learn(["fine", "fine"], 10),
        "label": Labels(("bad", "good", "so-so")),
    }
    return Sentiment(SentimentConfig(embeddings="none"), tokenizers)


def test_other_labels_share_what_confidence_leaves(task: Sentiment) -> None:
    batch = {
        "text": ["fine"] * 3,
        "label": ["good", "bad", "so-so"],
        "confidence": ["1", "0.5", "0"],
    }
    _, targets = task.encode({name: tf.constant(column) for name, column in batch.items()})
    assert targets.numpy().tolist() == [[0.0, 1.0, 0.0], [0.5, 0.25, 0.25], [0.5, 0.5, 0.0]]


def test_labels_can_be_learned_as_if_they_were_sure(task: Sentiment) -> None:
    task.config = replace(task.config, learn_confidence=False)
    batch = {"text": ["fine"], "label": ["bad"], "confidence": ["0.5"]}
    _, targets = task.encode({name: tf.constant(column) for name, column in batch.items()})
    assert targets.numpy().tolist() == [[1.0, 0.0, 0.0]]


def test_the_loss_is_least_where_people_are_told_right(task: Sentiment) -> None:
    targets = tf.constant([[0.7, 0.2, 0.1]])
    logits = tf.math.log(targets)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses, weights = task.loss(logits, targets)
    assert losses.numpy() == pytest.approx([0.801819])  # -0.7 ln 0.7 - 0.2 ln 0.2 - 0.1 ln 0.1
    assert weights.numpy().tolist() == [1.0]
    np.testing.assert_allclose(tape.gradient(losses, logits), [[0.0, 0.0, 0.0]], atol=1e-7)


def test_accuracy_counts_the_most_probable_label(task: Sentiment) -> None:
    (accuracy,) = task.metrics()
    accuracy.update_state([[0.6, 0.4, 0.0], [0.1, 0.2, 0.7]], [[2.0, 1.0, 0.0], [5.0, 1.0, 0.0]])
    assert float(accuracy.result()) == 0.5


@pytest.mark.parametrize(
    ("settings", "ends_at_the_first_word"),
    [
        ({}, 4),
        ({"bidirectional": False}, 0),
        ({"merge": "sum"}, 0),
        ({"merge": "average"}, 0),
        ({"depth": 2, "forward_layers": 1}, 0),
    ],
    ids=str,
)
def test_the_last_outputs_are_halves_of_both_ends_only_where_there_are_halves(
    task: Sentiment, settings: dict[str, Any], ends_at_the_first_word: int
) -> None:
    """Of five words, of which the last two are padding, `last` is the third."""
    small: dict[str, Any] = {"units": 4, "embedding_units": 3, "pooling": "last"}
    task.config = replace(task.config, **small, **settings)
    model = task.build_model()
    mask = np.array([[True, True, True, False, False]])
    outputs, _ = model.stack(random(1, 5, 3), mask=mask)
    pooled = arrays(model.pooling(outputs, mask=mask))[0]
    first, last = arrays(outputs)[0, [0, 2]]
    split = len(last) - ends_at_the_first_word
    np.testing.assert_array_equal(pooled, [*last[:split], *first[split:]])
    assert (first != last).all()


def test_words_that_no_training_text_has_are_told_apart_by_pretrained_vectors_alone() -> None:
    task = Sentiment(SentimentConfig(units=4))
    texts: list[Example] = [
        {"text": "fine fine film film", "label": "good"},
        {"text": "poor", "label": "bad"},
    ]
    task.tokenizers = task.learn_tokenizers(Examples.of(texts))
    model = task.build_model()
    task.initialize(model)
    learned, words = task.tokenizers["learned"], task.tokenizers["text"]
    assert learned.vocabulary[len(SPECIALS) :] == ("film", "fine")
    ids = words.encode(["film cat dog", "fine zzzzzz poor"]).to_tensor()
    pretrained, own = np.split(arrays(model._embed(ids, training=False)), 2, axis=-1)
    (film, cat, dog), (fine, unknown, poor) = own
    assert (film != fine).any()
    for other in (cat, dog, poor):
        np.testing.assert_array_equal(other, unknown)
    assert (pretrained[0, 1] != pretrained[0, 2]).any()

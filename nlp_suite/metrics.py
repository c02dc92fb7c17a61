"""The field's metrics, from plain predictions and references to numbers by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def classification(labels: Sequence[int], probabilities: np.ndarray) -> dict[str, float]:
    """Measures predicted probabilities of classes.

    Args:
        labels: The right class of each example.
        probabilities: float [examples, classes].

    Returns:
        `accuracy` and `macro_f1`, each from 0 to 1.
    """
    from sklearn.metrics import f1_score

    predicted = np.argmax(probabilities, axis=1)
    return {
        "accuracy": float(np.mean(predicted == np.asarray(labels))),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
    }


def translation(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Measures translations with sacreBLEU's BLEU and chrF, each from 0 to 100."""
    from sacrebleu.metrics import BLEU, CHRF

    return {
        "bleu": BLEU().corpus_score(list(hypotheses), [list(references)]).score,
        "chrf": CHRF().corpus_score(list(hypotheses), [list(references)]).score,
    }


def language_modeling(
    total_log_probability: float, *, tokens: int, words: int, characters: int, bytes_: int
) -> dict[str, float]:
    """Measures how well a text was predicted, comparable across tokenizers.

    Args:
        total_log_probability: Natural logarithm of the probability of the whole text.
        tokens: Tokens the model predicted.
        words: Words in the text.
        characters: Characters in the text.
        bytes_: Bytes of the text in UTF-8.

    Returns:
        `perplexity` per word, `perplexity_per_token`, `bits_per_character`, `bits_per_byte`.
    """
    bits = -total_log_probability / math.log(2)
    return {
        "perplexity": math.exp(-total_log_probability / words),
        "perplexity_per_token": math.exp(-total_log_probability / tokens),
        "bits_per_character": bits / characters,
        "bits_per_byte": bits / bytes_,
    }


def captioning(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Measures captions against one or several references each."""
    from sacrebleu.metrics import BLEU

    most = max(map(len, references))
    columns = [[refs[min(i, len(refs) - 1)] for refs in references] for i in range(most)]
    bleu = BLEU(tokenize="13a", lowercase=True).corpus_score(list(hypotheses), columns)
    exact = [hypothesis in refs for hypothesis, refs in zip(hypotheses, references, strict=True)]
    return {"bleu_4": bleu.score, "exact_match": float(np.mean(exact))}

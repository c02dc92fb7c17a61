"""How well classes are predicted, and whether the probabilities can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy, bin by bin; an empty bin has zeros.

    Attributes:
        confidence: float [bins], mean probability of the predicted class.
        accuracy: float [bins], share of predictions that were right.
        count: int [bins], predictions whose probability falls into the bin.
    """

    confidence: Array
    accuracy: Array
    count: Array

    @property
    def expected_error(self) -> float:
        """The mean gap between confidence and accuracy, weighted by count."""
        return float(
            np.sum(self.count * np.abs(self.confidence - self.accuracy)) / self.count.sum()
        )


def classification(
    labels: Sequence[int] | Array, probabilities: Array, names: Sequence[str]
) -> dict[str, float]:
    """Measures predicted classes and their probabilities.

    Args:
        labels: int [examples], the right classes.
        probabilities: float [examples, classes].
        names: The name of each class.

    Returns:
        accuracy; macro_f1; for each class precision_<name> and recall_<name>, 0 where nothing was
        predicted or nothing was there; roc_auc (the mean of one against the rest, for more than
        two classes), left out unless every class occurs; expected_calibration_error.

    Raises:
        ValueError: If there is no example.

    Example:
        >>> measured = classification([0, 1, 1], np.array([[.9, .1], [.6, .4], [.2, .8]]), "ab")
        >>> {name: round(value, 3) for name, value in measured.items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'accuracy': 0.667, 'macro_f1': 0.667, 'precision_a': 0.5, 'recall_a': 1.0,
         'precision_b': 1.0, 'recall_b': 0.5, 'roc_auc': 1.0, 'expected_calibration_error': 0.3}
    """
    labels = np.asarray(labels)
    if not len(labels):
        raise ValueError("`labels` must hold at least one example. Received: none.")
    counts = confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    right, predicted, actual = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    seen = predicted + actual
    metrics = {
        "accuracy": float(right.sum() / counts.sum()),
        # Of the classes that there are, as scikit-learn has it.
        "macro_f1": float(np.mean(2 * right[seen > 0] / seen[seen > 0])),
    }
    for index, name in enumerate(names):
        metrics[f"precision_{name}"] = float(right[index] / max(predicted[index], 1))
        metrics[f"recall_{name}"] = float(right[index] / max(actual[index], 1))
    if actual.all():
        metrics["roc_auc"] = _roc_auc(labels, probabilities)
    metrics["expected_calibration_error"] = calibration(labels, probabilities).expected_error
    return metrics


def confusion_matrix(
    labels: Sequence[int] | Array, predicted: Sequence[int] | Array, classes: int
) -> Array:
    """Counts how often each class was taken for each other.

    Args:
        labels: int [examples], the right classes.
        predicted: int [examples], the predicted ones.
        classes: How many there are.

    Returns:
        int [classes, classes]: a row for each right class, a column for each predicted one.

    Example:
        >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2)
        array([[1, 1],
               [0, 1]])
    """
    pairs = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def calibration(labels: Sequence[int] | Array, probabilities: Array, bins: int = 15) -> Calibration:
    """Compares how sure predictions are with how often they are right.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, where 15 bins are used.

    Args:
        labels: int [examples], the right classes.
        probabilities: float [examples, classes].
        bins: Intervals of equal width into which probabilities from 0 to 1 are grouped.

    Returns:
        Confidence, accuracy and count of each bin.

    Example:
        Two predictions of probability 0.9, of which one is right:

        >>> calibration([0, 1], np.array([[0.9, 0.1], [0.9, 0.1]])).expected_error
        0.4
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    total_confidence = np.bincount(bin_of, confidence, bins)
    total_right = np.bincount(bin_of, right, bins)
    filled = np.maximum(count, 1)
    return Calibration(total_confidence / filled, total_right / filled, count)


def _roc_auc(labels: Array, probabilities: Array) -> float:
    """Mean over classes of the area under the receiver operating characteristic.

    That is the chance that an example of the class gets a higher probability of it than an
    example of another one does; a tie counts half (Hanley & McNeil 1982).
    """
    areas = []
    for index in range(probabilities.shape[1]):
        inside = labels == index
        members, others = inside.sum(), (~inside).sum()
        _, tied, counts = np.unique(
            probabilities[:, index], return_inverse=True, return_counts=True
        )
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[tied]
        areas.append((ranks[inside].sum() - members * (members + 1) / 2) / (members * others))
    return float(np.mean(areas))

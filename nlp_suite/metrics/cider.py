"""CIDEr-D: agreement with what most references say, common phrases weighing less.

Source: Vedantam et al. 2015, https://arxiv.org/abs/1411.5726, section 3 and 4, with the raw counts
of n-grams in place of their relative frequencies, as in the authors' released code, whose numbers
the literature reports.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

Caption = Sequence[Hashable]
"""The words of a caption, or its token ids."""
Ngram = tuple[Hashable, ...]
Vector = dict[Ngram, float]

LONGEST_NGRAM = 4
SIGMA = 6.0
"""Spread, in words, of the Gaussian that punishes captions longer or shorter than a reference."""


class CiderD:
    """Scores captions one by one, their n-grams weighed by how many images have them.

    Args:
        references: The words of the right captions of each image from which the weights come.

    Example:
        >>> cider = CiderD([[["red", "cat"]], [["a", "dog"]]])
        >>> cider.score(["red", "cat"], [["red", "cat"]])
        5.0
    """

    def __init__(self, references: Iterable[Iterable[Caption]]) -> None:
        self.seen: Counter[Ngram] = Counter()
        self.images = 0
        for given in references:
            self.seen.update({ngram for reference in given for ngram in ngrams(reference)})
            self.images += 1

    def score(self, candidate: Caption, references: Sequence[Caption]) -> float:
        """Returns the CIDEr-D of a caption, from 0 to 10: the mean over its references.

        Args:
            candidate: Its words.
            references: The words of the right captions of its image.
        """
        vectors = self._vectors(candidate)
        total = 0.0
        for reference in references:
            difference = len(candidate) - len(reference)
            punished = math.exp(-(difference**2) / (2 * SIGMA**2))
            total += _similarity(vectors, self._vectors(reference)) * punished
        return 10 * total / len(references)

    def _vectors(self, words: Caption) -> list[Vector]:
        """Weighs the n-grams of a caption by TF-IDF, a vector for each n."""
        vectors: list[Vector] = [{} for _ in range(LONGEST_NGRAM)]
        for ngram, count in ngrams(words).items():
            weight = math.log(self.images / max(self.seen[ngram], 1))
            vectors[len(ngram) - 1][ngram] = count * weight
        return vectors


def cider_d(candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]) -> float:
    """Returns the mean CIDEr-D of captions, from 0 to 10.

    An n-gram weighs the logarithm of images over images that have it among their references, so
    one image alone always gets 0.

    Args:
        candidates: The words of one caption an image.
        references: The words of the right captions of each image.

    Returns:
        The score that is reported as 1.2 here and as 120 where it is given in per cent.

    Example:
        The references of two images have nothing in common and the captions are right, but too
        short for 3-grams and 4-grams: 10 x (1 + 1 + 0 + 0) / 4.

        >>> cider_d([["red", "cat"], ["a", "dog"]], [[["red", "cat"]], [["a", "dog"]]])
        5.0
    """
    cider = CiderD(references)
    return sum(map(cider.score, candidates, references)) / len(candidates)


def ngrams(words: Caption) -> Counter[Ngram]:
    """Counts the n-grams of a caption, n from 1 to 4."""
    return Counter(
        tuple(words[start : start + n])
        for n in range(1, LONGEST_NGRAM + 1)
        for start in range(len(words) - n + 1)
    )


def _similarity(candidate: list[Vector], reference: list[Vector]) -> float:
    """Averages the clipped cosine similarity over n, from 0 to 1."""
    total = 0.0
    for mine, theirs in zip(candidate, reference, strict=True):
        product = sum(
            min(weight, theirs[ngram]) * theirs[ngram]
            for ngram, weight in mine.items()
            if ngram in theirs
        )
        length = math.hypot(*mine.values()) * math.hypot(*theirs.values())
        total += product / length if length else 0.0
    return total / LONGEST_NGRAM

"""The field's metrics: plain predictions and references in, numbers by name out.

BLEU, chrF and TER go from 0 to 100, as sacreBLEU prints them; CIDEr-D from 0 to 10; all other
shares, accuracies and F1 from 0 to 1.
"""

from __future__ import annotations

from nlp_suite.metrics.captions import captioning
from nlp_suite.metrics.cider import CiderD
from nlp_suite.metrics.classes import (
    Calibration,
    calibration,
    classification,
    confusion_matrix,
)
from nlp_suite.metrics.language_models import language_modeling
from nlp_suite.metrics.significance import Statistics, paired_bootstrap
from nlp_suite.metrics.translations import (
    bleu_of,
    bleu_statistics,
    sentence_chrf,
    signatures,
    translation,
)

__all__ = [
    "Calibration",
    "CiderD",
    "Statistics",
    "bleu_of",
    "bleu_statistics",
    "calibration",
    "captioning",
    "classification",
    "confusion_matrix",
    "language_modeling",
    "paired_bootstrap",
    "sentence_chrf",
    "signatures",
    "translation",
]

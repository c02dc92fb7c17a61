"""Where examples come from: builtin sets, files, folders, TFDS and NLTK; checked, and split."""

from nlp_suite.datasets.dataset import Dataset
from nlp_suite.datasets.inspection import Report
from nlp_suite.datasets.opening import Builtin, open_dataset
from nlp_suite.datasets.rows import Example, Examples, Feature
from nlp_suite.datasets.splits import SPLITS, Fractions

__all__ = [
    "SPLITS",
    "Builtin",
    "Dataset",
    "Example",
    "Examples",
    "Feature",
    "Fractions",
    "Report",
    "open_dataset",
]

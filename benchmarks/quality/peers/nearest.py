"""Describes each test image by the caption of the training image with the most similar features.

    python -m benchmarks.quality.peers.nearest --folder FOLDER

The features are those that the task's decoder attends to, averaged over the regions of an image.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.report import write_report
from nlp_suite.arguments import Argument, parse_arguments
from nlp_suite.console import import_tensorflow, orderly_exit
from tasks.captioning.config import CaptioningConfig

ARGUMENTS = (Argument("folder", Path, Path("saved_models/quality/features"), "Where all is kept."),)
AT_ONCE = 256
"""Images whose features are computed together."""


def main() -> None:
    """Captions the test split and writes metrics.json."""
    with orderly_exit():
        values = parse_arguments(f"python -m {__spec__.name}", __doc__, ARGUMENTS, sys.argv[1:])
        import_tensorflow()
        compare(**values)


def compare(folder: Path) -> None:
    """Measures the nearest captions.

    Args:
        folder: Where metrics.json goes.
    """
    from nlp_suite.baselines import nearest_image
    from tasks.captioning.task import TASK

    task = TASK(CaptioningConfig())
    train, test = task.examples("train"), task.examples("test")
    captions = [str(example["caption"]) for example in train]
    nearest = nearest_image(features(task, train), captions, features(task, test))
    write_report(folder, None, task.measure(test, [{"text": caption} for caption in nearest]))


def features(task: Any, examples: Any) -> Any:
    """Computes what the network sees in images, float32 [images, features]."""
    import tensorflow as tf

    from nlp_suite.answering import batches
    from nlp_suite.efficientnet import lite0_regions
    from nlp_suite.images import decode_images

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def look(images: Any) -> Any:
        regions = lite0_regions(decode_images(images, task.config.image_size))
        return tf.reduce_mean(tf.cast(regions, tf.float32), axis=1)

    return np.concatenate([look(b["image"]) for b in batches(examples, AT_ONCE, ("image",))])


if __name__ == "__main__":
    main()

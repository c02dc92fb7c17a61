"""What captioning remembers, and what say it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from cases import TINY, FewExamples, assert_same
from keras import ops

from nlp_suite.efficientnet import FEATURES, TOGETHER, lite0_regions
from nlp_suite.errors import UserError
from nlp_suite.export import ExportedModel, export
from nlp_suite.runs import restore
from nlp_suite.specials import EOS
from nlp_suite.training import train
from tasks.captioning.config import CaptioningConfig
from tasks.captioning.model import SHARPNESS, TOKENS, CaptionMemory
from tasks.captioning.task import Captioning

SMALL: dict[str, Any] = {
    **{name: TINY[name] for name in ("units", "embedding_units", "vocabulary_size", "beam_width")},
    "image_size": 64,
    "memory_size": 64,
    "max_length": 6,
    "neighbour_share": 1.0,
    "epochs": 1,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Captioning, Path]:
    task = Captioning(CaptioningConfig(**SMALL))
    task.dataset = FewExamples(task.open_dataset(), 64)  # type: ignore[assignment]
    run_dir = tmp_path_factory.mktemp("captioning") / "run"
    train(task, run_dir)
    return task, run_dir


def test_the_memory_gives_captions_by_the_likeness_of_their_images() -> None:
    """The cosines of the image with the three that are remembered are 1, 0.6 and 0."""
    memory = CaptionMemory(size=4, features=2)
    memory.build()
    images = np.array([[0, 1], [1, 0], [0.6, 0.8]], "float32")
    memory.remember(images, np.array([[7, EOS, 0], [8, 9, EOS], [6, EOS, 0]]))
    captions, shares = memory(ops.array([[[2.0, 0.0]]]), neighbours=3)
    found = ops.convert_to_numpy(captions)
    assert found.shape == (1, 3, TOKENS)
    assert found[0, :, :3].tolist() == [[8, 9, EOS], [6, EOS, 0], [7, EOS, 0]]
    weights = np.exp(SHARPNESS * np.array([1.0, 0.6, 0.0]))
    np.testing.assert_allclose(ops.convert_to_numpy(shares)[0], weights / weights.sum(), atol=1e-3)


def test_with_all_the_say_the_nearest_image_has_its_caption(run: tuple[Captioning, Path]) -> None:
    """An image that is remembered is nearest to itself."""
    task, model = restore(Captioning, run[1])
    task.config = replace(task.config, neighbours=1)
    remembered = list(run[0].examples("train"))[:8]
    told = [prediction["text"] for prediction in task.predictions(model, remembered)]
    captions = task.writer.encode([str(example["caption"]) for example in remembered])
    assert told == [text.decode() for text in task.writer.decode(captions).numpy()]


def test_an_export_remembers_too(run: tuple[Captioning, Path], tmp_path: Path) -> None:
    task, model = restore(Captioning, run[1])
    images = [task.raw_inputs(example) for example in list(run[0].examples("test"))[:6]]
    folder = export(task, model, tmp_path)
    assert f"{task.remembered} of its training data" in (folder / "model_card.md").read_text()
    exported = ExportedModel(folder)
    assert_same(list(task.predictions(model, images)), list(exported.predictions(images)))
    task.config = replace(task.config, neighbours=0)
    without = [p["text"] for p in task.predictions(model, images)]
    assert without != [p["text"] for p in exported.predictions(images)]


@pytest.mark.parametrize("count", [0, 1, TOGETHER, TOGETHER + 1])
def test_images_described_together_are_described_as_alone(count: int) -> None:
    signature = [tf.TensorSpec([None, 64, 64, 3], tf.uint8)]
    describe = tf.function(lite0_regions, input_signature=signature)
    pixels = np.random.default_rng(0).integers(0, 256, [count, 64, 64, 3], np.uint8)
    together = describe(pixels)
    assert together.shape == (count, 4, FEATURES)
    for image, regions in zip(pixels, together.numpy(), strict=True):
        alone = lite0_regions(tf.constant(image[np.newaxis]))[0]
        np.testing.assert_allclose(regions, alone, atol=0.02)  # of up to 6, in float16


def test_a_share_is_a_share() -> None:
    with pytest.raises(UserError, match="`neighbour_share` must be from 0 to 1"):
        CaptioningConfig(neighbour_share=1.5)

"""The networks of docs/layers.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from layer_checks import arrays, assert_close

PAGE = (Path(__file__).parents[1] / "docs" / "layers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
TOKENS = np.array([[2, 5, 6, 3], [2, 3, 0, 0]], "int32")


def network(name: str) -> Any:
    """Runs the block of the page that defines a network and returns its class."""
    (block,) = (block for block in BLOCKS if f"class {name}(" in block)
    scope: dict[str, Any] = {}
    exec(block, scope)
    return scope[name]


def test_there_are_three_networks_of_under_twenty_lines() -> None:
    lengths = [sum(bool(line.strip()) for line in block.splitlines()) for block in BLOCKS]
    assert len(lengths) == 3
    assert max(lengths) < 20


def test_the_classifier_is_blind_to_padding() -> None:
    model = network("Classifier")(vocabulary_size=9, classes=3)
    logits = model(TOKENS)
    assert logits.shape == (2, 3)
    assert_close(model(TOKENS[1:, :2]), logits[1:], 1e-6)


def test_the_translator_is_blind_to_padding_of_its_source() -> None:
    model = network("Translator")(vocabulary_size=9)
    logits = model((TOKENS, TOKENS[:, :3]))
    assert logits.shape == (2, 3, 9)
    assert_close(model((TOKENS[1:, :2], TOKENS[1:, :3])), logits[1:], 1e-6)


def test_the_language_model_reads_a_text_in_windows() -> None:
    model = network("LanguageModel")(vocabulary_size=9)
    whole, _ = model(TOKENS)
    _, state = model(TOKENS[:, :2])
    rest, _ = model(TOKENS[:, 2:], state)
    assert_close(rest, whole[:, 2:], 1e-6)
    model(TOKENS, training=True)
    assert len(model.losses) == 2
    assert np.isfinite(arrays(model.losses)).all()

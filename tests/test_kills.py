"""The campaign of kills finds what it kills in, and tells runs apart."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TinyConfig, TinyLanguageModel

from benchmarks.kills import PLACES, content, differences
from nlp_suite.checkpoints import latest_checkpoint, save_checkpoint
from nlp_suite.files import sweep
from nlp_suite.training import train


@pytest.mark.parametrize("place", PLACES)
def test_a_victim_dies_at_its_place(place: str) -> None:
    """The call itself fails for want of arguments, after it was counted."""
    program = f"""
from importlib import import_module
from benchmarks.kills import PLACES, victim
victim({place!r}, 1, 0.0)
module, _, kind = PLACES[{place!r}].owner.partition(":")
owner = import_module(module)
function = getattr(getattr(owner, kind) if kind else owner, PLACES[{place!r}].function)
while True:
    try:
        function()
    except TypeError:
        pass
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_a_difference_of_one_bit_is_named(tmp_path: Path) -> None:
    train(TinyLanguageModel(TinyConfig(precision="mixed_bfloat16")), tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    assert differences(tmp_path / "one", tmp_path / "other") == []
    assert any(name.startswith("carried") for name in content(tmp_path / "one"))
    history = tmp_path / "other" / "history.csv"
    history.write_text(history.read_text().replace("1.0,", "1.5,", 1))
    assert differences(tmp_path / "one", tmp_path / "other") == ["history"]
    shutil.copy(tmp_path / "one" / "history.csv", history)
    flipped = latest_checkpoint(tmp_path / "other" / "checkpoints")
    assert flipped is not None
    name = next(n for n, array in flipped.arrays.items() if n.startswith("model") and array.ndim)
    flipped.arrays[name].reshape(-1).view("uint8")[0] ^= 1
    state = {**flipped.state, "updates": flipped.state["updates"] + 1}
    save_checkpoint(
        tmp_path / "other" / "checkpoints", state["updates"], flipped.arrays, flipped.state, keep=1
    )
    assert differences(tmp_path / "one", tmp_path / "other") == [name]


def test_what_a_kill_left_is_swept_up_and_the_swap_file_of_an_editor_is_not(tmp_path: Path) -> None:
    swap = tmp_path / ".config.json.swp"
    swap.write_text("edited")
    (tmp_path / ".config.json.0kdx_3rq").mkdir()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [swap]

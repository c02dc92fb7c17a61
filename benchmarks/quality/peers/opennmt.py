"""Trains an OpenNMT-py model on translation's data and tokens, and measures it the same way.

    python -m benchmarks.quality.peers.opennmt --model rnn --folder FOLDER --minutes 10

OpenNMT-py (Klein et al. 2017, https://aclanthology.org/P17-4012) gets the suite's subwords as
words, each spelled as its id, and what it answers is decoded by the suite's tokenizer. It runs in
an environment of its own, which is made at the first call.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.quality.report import write_report
from nlp_suite.arguments import Argument, parse_arguments
from nlp_suite.console import import_tensorflow, orderly_exit
from nlp_suite.files import replace_text
from nlp_suite.specials import SPECIALS
from tasks.translation.config import TranslationConfig

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".venv"
OPENNMT = "OpenNMT-py==3.5.1"
ARGUMENTS = (
    Argument("model", Literal["rnn", "transformer"], "rnn", "Which of the opennmt_*.yaml."),
    Argument("folder", Path, Path("saved_models/quality/opennmt"), "Where all is kept."),
    Argument("minutes", float, 10.0, "Minutes of training."),
    Argument("seed", int, 0, "Seeds weights and the order of examples."),
    Argument("source", str, "en", "Language to translate from."),
    Argument("target", str, "de", "Language to translate into."),
)


def main() -> None:
    """Trains, translates the test split and writes metrics.json."""
    with orderly_exit():
        values = parse_arguments(f"python -m {__spec__.name}", __doc__, ARGUMENTS, sys.argv[1:])
        import_tensorflow()
        compare(**values)


def compare(model: str, folder: Path, minutes: float, seed: int, source: str, target: str) -> None:
    """Trains one of OpenNMT-py's models and measures its translations of the test split.

    Args:
        model: `rnn` or `transformer`.
        folder: Where data, model and metrics.json go.
        minutes: Minutes of training.
        seed: Seeds weights and the order of examples.
        source: Language to translate from.
        target: Language to translate into.
    """
    from tasks.translation.task import TASK

    task = TASK(TranslationConfig(source=source, target=target))
    task.tokenizers = task.learn_tokenizers(task.examples("train"))
    data = folder / "data"
    write_data(task, data)
    replace_text(folder / "opennmt.yaml", yaml.safe_dump(settings(task, model, folder, seed)))
    python = make_environment()
    config = ("-config", folder / "opennmt.yaml")
    _call([python, HERE / "opennmt_training.py", str(minutes), *config])
    trained = max(folder.glob("model_step_*.pt"), key=lambda path: path.stat().st_mtime)
    _call([python, "-m", "onmt.bin.translate", *search(task, trained, data)])
    lines = (data / "answers").read_text(encoding="utf-8").splitlines()
    outcomes = [{"text": text} for text in decode(task, lines)]
    write_report(folder, minutes, task.measure(task.examples("test"), outcomes))


def make_environment() -> Path:
    """Installs OpenNMT-py, once, and gives the Python that has it."""
    python, done = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed"
    if not done.exists():
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
        _call([*install, "--requirement", HERE / "requirements.txt"])
        _call([*install, "--no-deps", OPENNMT])
        done.touch()
    return python


def write_data(task: Any, data: Path) -> None:
    """Writes train and test as parallel files of token ids, and the vocabulary.

    Args:
        task: The translation task with its tokenizers.
        data: The folder to write to.
    """
    for split in ("train", "test"):
        for language in (task.config.source, task.config.target):
            texts = [str(example[language]) for example in task.examples(split)]
            rows = task.writer.encode(texts).to_list()
            _write_lines(data / f"{split}.{language}", (" ".join(map(str, row)) for row in rows))
    _write_lines(
        data / "vocabulary.txt", map(str, range(len(SPECIALS), task.writer.vocabulary_size))
    )


def settings(task: Any, model: str, folder: Path, seed: int) -> dict[str, Any]:
    """Completes the settings of a model with those of the task and those of all models.

    Args:
        task: The translation task with its tokenizers.
        model: `rnn` or `transformer`.
        folder: Where the data lies and the model goes.
        seed: Seeds weights and the order of examples; not 0, which would stand for any.

    Returns:
        What `onmt_train` reads.
    """
    config, data = task.config, f"{folder}/data"
    pairs = {
        "path_src": f"{data}/train.{config.source}",
        "path_tgt": f"{data}/train.{config.target}",
        "transforms": [],
    }
    own: dict[str, Any] = yaml.safe_load((HERE / f"opennmt_{model}.yaml").read_text())
    return own | {
        "data": {"train": pairs},
        "save_data": data,
        "src_vocab": f"{data}/vocabulary.txt",
        "tgt_vocab": f"{data}/vocabulary.txt",
        "src_vocab_size": task.writer.vocabulary_size,
        "tgt_vocab_size": task.writer.vocabulary_size,
        "vocab_size_multiple": 1,
        "share_vocab": True,
        "share_embeddings": True,
        "share_decoder_embeddings": True,
        "save_model": f"{folder}/model",
        "save_checkpoint_steps": 0,
        "train_steps": 1_000_000,
        "report_every": 100,
        "batch_size": int(config.batch_size),
        "batch_type": "sents",
        "normalization": "tokens",
        "num_workers": 0,
        "label_smoothing": config.label_smoothing,
        "max_grad_norm": config.clip_norm,
        "seed": seed + 1,
    }


def search(task: Any, model: Path, data: Path) -> list[str]:
    """Gives the arguments of `onmt_translate`: the beam search that the task has.

    Args:
        task: The translation task.
        model: The trained model.
        data: The folder of the test split, where the answers go.
    """
    config = task.config
    options = {
        "model": model,
        "src": data / f"test.{config.source}",
        "output": data / "answers",
        "beam_size": config.beam_width,
        "length_penalty": "wu",
        "alpha": config.length_penalty,
        "max_length": config.max_length,
        "batch_size": 64,
    }
    return [part for name, value in options.items() for part in (f"-{name}", str(value))]


def decode(task: Any, lines: Iterable[str]) -> list[str]:
    """Reads lines of token ids back; what is no id, such as an unknown word, is left out.

    Args:
        task: The translation task with its tokenizers.
        lines: Ids separated by spaces.
    """
    import tensorflow as tf

    rows = [[int(word) for word in line.split() if word.isdigit()] for line in lines]
    texts = task.writer.decode(tf.ragged.constant(rows, tf.int32, ragged_rank=1))
    return [text.decode() for text in texts.numpy().tolist()]


def _call(command: Sequence[str | Path]) -> None:
    # PyTorch of today opens OpenNMT-py's checkpoints, which are our own, only when told to.
    trusting = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    subprocess.run(command, check=True, env=trusting)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    replace_text(path, "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()

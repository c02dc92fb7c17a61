"""What was measured, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median

from benchmarks.speed.answering import Answers
from benchmarks.speed.decoding import Search
from benchmarks.speed.growth import Point, Streamed
from benchmarks.speed.rounds import Ratio
from benchmarks.speed.starting import Start
from benchmarks.speed.training import TrainingSpeed

PACKAGES = ("tensorflow", "keras", "torch", "numpy")

START = """\
Seconds from the return key until `--help` shows, and until a new run has taken its first step of
training: with TensorFlow imported, the builtin texts read, words learned, examples encoded."""

TRAINING = """\
Tokens without padding, a second, in training on the builtin data. *Ours* is the task with its
defaults: its batches and their order, its precision, its loss with label smoothing, its averaged
weights. *Stock Keras* has the same layers from `keras.layers`, trained by `model.fit` in float32,
each sequence cut or padded to the length that 95 % of them do not exceed. *PyTorch* has the same
layers from `torch.nn` in float32, packed sequences, batches of similar lengths, and the fused
Adam. All have the same sizes, vocabulary, batch size, dropout, Adam with clipping, averaged
weights where the task has them, and for captions the same image features, computed before.

What differs: in sentiment analysis ours alone drops whole words, and learns the probabilities of
labels where the others learn the labels. Label smoothing is in ours and in PyTorch, not in stock
Keras, which would need targets of the vocabulary's size. Keras ties the vocabulary without a bias;
PyTorch has two biases in each LSTM. All this makes the peers' work less, or changes it by little.

*Cores busy* is the share of the cores' time that ours takes; the rest they are idle, or busy with
others' work."""

DECODING = """\
Sentences a second, from token ids to token ids, with the network of translation and random
weights; each text is as long as its reference. The *Python loop* takes one sentence after the
other and calls the traced network at each step. *PyTorch* searches all sentences of a batch
together."""

MANY = """\
Sentences a second, from raw text to label: an export as `nlp-suite predict` uses it, and stock
Keras end to end with `TextVectorization`, in the default batches of `model.predict`."""

SINGLE = """\
The median time of one text alone, from raw text to label; LiteRT and ONNX with the readers in
plain Python that come with them."""

SIZES = """\
The language model, trained on random tokens; where it does not say otherwise, windows of 32
tokens, 32 of them a batch, and a vocabulary of 2,000."""

ROWS = """\
Files of made-up rows of 12 words, streamed from the disk: rows a second until they are token ids
(checked, counted, words learned, tokenized, written), tokens a second in the training that
follows, and the most memory held in between. Each file in a fresh process."""

PROFILES = """\
What the threads of ours that compute are busy with, by TensorFlow's profiler, which itself costs
some time between the operations. *Copies* are all operations that put numbers together, take them
apart or change their type; *updates* are what happens to gradients and weights."""

MEMORY = """\
The most memory that the process held while it trained, in MB. Importing TensorFlow alone takes
600."""

METHOD = """\
Each contender runs in a process of its own. They are measured in turn, round after round, so that
what slows the machine down slows all of them. Figures are medians over the rounds; ratios are
those of the medians, with the least and the greatest ratio in one round. Above 1 ours is faster.
PyTorch's threads wait for each other at every operation: other work on the machine costs it more
than it costs TensorFlow, so measure on an idle one."""


TRIED = """\
Of a step of language modeling or translation, the products with the vocabulary (three a step, in
bfloat16 where the processor has it) are the largest part, and run near the rate of the machine. A
step of sentiment analysis is short: most of it are hundreds of small operations, and the update of
two tables of vectors. Of captioning's, the largest part is dropping and projecting the features of
the images. What made steps faster:

- In the loop backwards, the recurrent kernel is transposed once. TensorFlow transposes it anew in
  each product, which then takes several times as long.
- Inputs are projected before the loop, and the gradient of the recurrent kernel is one product
  after it. Under bfloat16 the small products are in bfloat16 too, states and gates are not.
- A layer that reads in one direction reads a batch in two parts, one for each core. Two directions
  have a loop each as it is.
- Cross entropy takes its value and its gradient from one softmax; label smoothing costs little.
- Image features are dropped by random bytes, four of which come from one random number.
- An exponential average of the weights looks at every eighth update (sentiment analysis: 5 %).
- The translation memory compares common words only with texts that the rarer words leave possible,
  so that encoding the texts of training and validation takes 6 seconds in place of 9.
- Images are described 32 at once, 1.3 times as fast as eight, which were 1.5 times as fast as
  one by one; and the memory of captions takes the features that training has encoded. Before, they
  were computed for it again.
- Texts are answered with others of as many words and punctuation marks, which leaves 9 % of
  padding in sentiment analysis where sorting by characters leaves 33; two batches at once; and
  exports have the same loop as training. Backwards they are read through a gather, in half the time
  of a reversed sequence, and the bias is added in the product.
- Whenever half of a batch's sentences have ended the others are written on alone, for one of 32 has
  64 tokens where they have 21 on average: 1.6 times as fast at beam 4, 1.5 times by the greedy way.
- In training, logits are computed part by part, four million at a time: as fast as all at once
  (0.95 to 1.0 of the speed of the loss alone at vocabularies of 2,000 and 4,000), in about a third
  of the loss's memory under bfloat16 and 60 % of it under float32, and 140 MB less at the peak of
  forty steps of translation.

What did not: XLA for the elementwise part of a step (no faster, and compiled anew for each shape);
one sigmoid for all gates with tanh as a stretched sigmoid (slower); two parts with Keras's own loop
(slower from 64 rows on). Keeping the last memory cells in the loop, in place of picking them out of
those of all steps, took 0.97 to 1.13 times as long; other settings of the C library's allocator
changed neither time nor memory; words dropped by random bytes were no faster. Slices in place of
splits cost more than the parts gained, for the gradient of a slice fills the whole with zeros.
Several steps in one execution made those of sentiment analysis no faster beyond the noise, and
answers in batches of 128 were no faster than those in batches of 64. The gradient of the vocabulary
in the same pass as the loss, part by part, needs no probabilities kept, but the weight of each
token beforehand, and is no faster.

What bounds the rest: a sentence of 23 words takes 34 million multiplications and additions in two
directions, 335 GFLOP for 10,000 of them. One core does 58 to 91 GFLOP/s in float32 at these sizes,
so two cores at work on nothing else need some 2.3 seconds. In beam search a fifth of a step is
attention to a memory that is repeated for each hypothesis.

All this depends on the machine. On two cores of an Intel Xeon with AMX, language modeling is 1.58
times as fast as stock Keras (1.54-1.65) and 0.68 times as fast as PyTorch (0.66-0.75; `--only
training --task language_modeling`, 2026-11-23).

Ten million rows (`--only rows --rows 10000000`, 2026-11-22, beside other work): 11,870 rows a
second, 33,926 tokens a second in training, and 1,234 MB, 340 more than of ten thousand."""


@dataclass
class Results:
    """What was measured.

    Attributes:
        machine: The processor in words.
        date: Day of the measurement.
        load: Processes that wanted a core in the minute before.
        start: How long people wait.
        training: By task.
        profiles: By task, the share of the time by kind of operation.
        decoding: Sentences a second by search and contender.
        answers: Of sentiment analysis.
        sizes: How speed changes with sizes.
        rows: How cost grows with the data.
    """

    machine: str
    date: str
    load: float
    start: list[Start] = field(default_factory=list)
    training: dict[str, TrainingSpeed] = field(default_factory=dict)
    profiles: dict[str, dict[str, float]] = field(default_factory=dict)
    decoding: dict[Search, dict[str, list[float]]] = field(default_factory=dict)
    answers: Answers | None = None
    sizes: list[Point] = field(default_factory=list)
    rows: list[Streamed] = field(default_factory=list)

    def summary(self) -> dict[str, dict[str, float]]:
        """Gives the figures of each task that are followed from version to version."""
        return {task: speed.summary() for task, speed in self.training.items()}

    def markdown(self) -> str:
        """Tells everything, with a table for each section that was measured."""
        sections = [self._head(), *self._start(), *self._training(), *self._profiles()]
        sections += [*self._decoding(), *self._answers(), *self._growth()]
        return "\n\n".join([*sections, f"## What was tried\n\n{TRIED}"]) + "\n"

    def _head(self) -> str:
        versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        where = f"{self.machine}; Python {platform.python_version()}, {versions}; {self.date}."
        load = f"Load before the measurement: {self.load:.1f}. Written by `make bench`."
        return f"# Speed\n\n{where} {load}\n\n{METHOD}"

    def _start(self) -> Iterable[str]:
        if self.start:
            rows = [[task, *(f"{each:.2f}" for each in seconds)] for task, *seconds in self.start]
            yield f"## Start\n\n{START}\n\n{table(['task', '--help', 'first step'], rows)}"

    def _training(self) -> Iterable[str]:
        if self.training:
            rows = [
                [
                    task,
                    *_medians(speed.tokens_per_second),
                    *map(speed.versus, _peers(speed)),
                    f"{speed.busy:.0%}",
                ]
                for task, speed in self.training.items()
            ]
            names = list(next(iter(self.training.values())).peak_mb)
            heads = ["task", *names, *(f"times {name}" for name in names[1:]), "cores busy"]
            yield f"## Training\n\n{TRAINING}\n\n{table(heads, rows)}"
            memory = [[task, *speed.peak_mb.values()] for task, speed in self.training.items()]
            yield f"## Memory\n\n{MEMORY}\n\n{table(['task', *names], memory)}"

    def _profiles(self) -> Iterable[str]:
        if self.profiles:
            heads = ["task", *next(iter(self.profiles.values()))]
            rows = [
                [task, *(f"{share:.0%}" for share in shares.values())]
                for task, shares in self.profiles.items()
            ]
            yield f"## Where the time goes\n\n{PROFILES}\n\n{table(heads, rows)}"

    def _decoding(self) -> Iterable[str]:
        if self.decoding:
            names = list(next(iter(self.decoding.values())))
            heads = ["search", *names, *(f"times {name}" for name in names[1:])]
            rows = [
                [search, *_medians(rates), *_ratios(rates)]
                for search, rates in self.decoding.items()
            ]
            yield f"## Decoding\n\n{DECODING}\n\n{table(heads, rows)}"

    def _answers(self) -> Iterable[str]:
        if self.answers:
            many, single = self.answers.texts_per_second, self.answers.calls_per_second
            row = [*_medians(many), *_ratios(many)]
            yield f"## Many texts\n\n{MANY}\n\n{table([*many, 'ratio'], [row])}"
            rows = [
                [name, f"{1e3 / median(rates):.2f}", Ratio.of(rates, single["model.predict"])]
                for name, rates in single.items()
            ]
            heads = ["", "ms", "times as fast as model.predict"]
            yield f"## One text\n\n{SINGLE}\n\n{table(heads, rows)}"

    def _growth(self) -> Iterable[str]:
        if self.sizes:
            heads = ["size", "", "tokens a second"]
            yield f"## Sizes\n\n{SIZES}\n\n{table(heads, self.sizes)}"
        if self.rows:
            heads = ["rows", "rows a second", "tokens a second", "MB"]
            yield f"## Data\n\n{ROWS}\n\n{table(heads, self.rows)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lays a table out in Markdown; figures have no more digits than they are worth.

    Example:
        >>> print(table(["rows", "speed"], [[1000, 1234.5], ["two", 1.234]]))
        | rows | speed |
        |---|---|
        | 1,000 | 1,234 |
        | two | 1.2 |
    """
    lines = [heads, *([_shown(cell) for cell in row] for row in rows)]
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|---" * len(heads) + "|", *body])


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 100 else f"{cell:.1f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _medians(rates: Mapping[str, Sequence[float]]) -> list[float]:
    return [median(values) for values in rates.values()]


def _ratios(rates: Mapping[str, Sequence[float]]) -> list[Ratio]:
    """Compares the first contender with each of the others."""
    ours, *others = rates.values()
    return [Ratio.of(ours, theirs) for theirs in others]


def _peers(speed: TrainingSpeed) -> list[str]:
    return list(speed.tokens_per_second)[1:]

"""Translating with the PyTorch network and a straightforward batched beam search."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.pytorch_models import Translator, build
from benchmarks.speed.workloads import Workload, cut, sources_to_translate
from nlp_suite.specials import BOS, EOS, PAD


class TorchDecoding:
    """Translates batches of token ids; random weights, each text as long as its reference.

    Args:
        folder: Where the workload of translation lies.
    """

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        workload = Workload.load(folder)
        self.sources, self.lengths = sources_to_translate(workload)
        self.model = build(workload).eval()

    def seconds(self, beam_width: int, batch_size: int) -> float:
        """Translates all sentences, so many together, and gives the time."""
        began = perf_counter()
        for rows in cut(np.arange(len(self.lengths)), batch_size):
            source = torch.from_numpy(self.sources.rows(rows)).long()
            search(self.model, source, torch.from_numpy(self.lengths[rows]), beam_width)
        return perf_counter() - began


@torch.inference_mode()
def search(model: Translator, source: Tensor, lengths: Tensor, beam_width: int) -> Tensor:
    """Keeps the best hypotheses of each sentence at each step; with a width of 1 this is greedy.

    Args:
        model: The network.
        source: int64 [batch, time].
        lengths: int [batch], where each text ends.
        beam_width: Hypotheses of a sentence.

    Returns:
        The best texts, int64 [batch, time], PAD after their ends.
    """
    batch = len(source)
    state, memory = model.start(source)
    state = tuple(part.repeat_interleave(beam_width, dim=1) for part in state)
    memory = tuple(part.repeat_interleave(beam_width, dim=0) for part in memory)
    first_rows = beam_width * torch.arange(batch)[:, None]
    own = torch.arange(beam_width).expand(batch, -1)
    tokens = torch.full((batch, beam_width), BOS)
    scores = torch.full((batch, beam_width), -torch.inf)
    scores[:, 0] = 0.0
    texts = torch.empty((batch, beam_width, 0), dtype=torch.long)
    for time in range(int(lengths.max())):
        logits, state = model.decoder.step(tokens.flatten(), state, memory)
        gains = logits.log_softmax(dim=-1).view(batch, beam_width, -1)
        gains[..., [PAD, BOS, EOS]] = -torch.inf
        totals, places = (scores[..., None] + gains).flatten(1).topk(beam_width)
        is_going_on = (time < lengths)[:, None]
        parents = torch.where(is_going_on, places // gains.shape[-1], own)
        tokens = torch.where(is_going_on, places % gains.shape[-1], PAD)
        scores = torch.where(is_going_on, totals, scores)
        rows = (first_rows + parents).flatten()
        state = tuple(part[:, rows] for part in state)
        texts = torch.cat(
            [texts.flatten(0, 1)[rows].view(batch, beam_width, -1), tokens[..., None]], dim=-1
        )
    return texts[:, 0]

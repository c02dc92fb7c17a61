"""Generating text with any model that can take one step: greedy, beams, consensus, sampling.

A model takes part through its `StepFunction`. Everything runs in the graph, in one
`tf.while_loop`, over unknown batch sizes and lengths, and so can be exported as it is.
"""

from __future__ import annotations

from nlp_suite.decoding.alignment import align, attended_words
from nlp_suite.decoding.consensus import Votes, consensus
from nlp_suite.decoding.hypotheses import Hypotheses, StepFunction
from nlp_suite.decoding.sampling import greedy, sample
from nlp_suite.decoding.scoring import ensemble, score
from nlp_suite.decoding.search import beam_search

__all__ = [
    "Hypotheses",
    "StepFunction",
    "Votes",
    "align",
    "attended_words",
    "beam_search",
    "consensus",
    "ensemble",
    "greedy",
    "sample",
    "score",
]

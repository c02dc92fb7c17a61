"""Measures decoding: batched beam search against its own cost one example at a time, and greedy.

    python -m benchmarks.decoding [--beam-width 4] [--examples 32]

The model is a translator of the default sizes with random weights, whose texts end after 5 to 60
tokens. All searches find the same texts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nlp_suite.config import EncoderDecoderConfig
from nlp_suite.decoding import Hypotheses, beam_search, greedy
from nlp_suite.layers import build_decoder, build_embedding
from nlp_suite.specials import EOS

VOCABULARY, UNITS, SOURCE_LENGTH = 6000, 256, 25
MAX_LENGTH, REPEATS = 60, 3


def random_model(examples: int) -> tuple[Any, Any, Any]:
    """Makes a step function that ends each text at a length of its own, state and context."""
    keras.utils.set_random_seed(0)
    config = EncoderDecoderConfig(units=UNITS)
    decoder = build_decoder(config, build_embedding(config, VOCABULARY))
    memory = tf.random.normal([examples, SOURCE_LENGTH, UNITS])
    mask = tf.ones([examples, SOURCE_LENGTH], tf.bool)
    network = decoder.stack.zero_state(examples)
    decoder(tf.fill([examples, 1], EOS), network, memory, mask=mask)
    lengths = tf.constant(np.random.default_rng(0).integers(5, MAX_LENGTH, examples), tf.int32)

    def step(tokens: Any, state: Any, context: Any) -> tuple[Any, Any, Any]:
        network, said = state
        memory, mask, lengths = context
        logits, network, attention = decoder.step(tokens, network, memory, mask=mask)
        ends = tf.where(said + 1 >= lengths, 50.0, -50.0)[:, tf.newaxis]
        return logits + ends * tf.one_hot(EOS, VOCABULARY), (network, said + 1), attention

    return step, (network, tf.zeros([examples], tf.int32)), (memory, mask, lengths)


def seconds_of(function: Callable[[], Any]) -> float:
    """Returns the shortest of a few times, after one call to trace and warm up."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Prints a table of milliseconds an example."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--beam-width", type=int, default=4)
    parser.add_argument("--examples", type=int, default=32)
    arguments = parser.parse_args()
    step, state, context = random_model(arguments.examples)

    @tf.function(reduce_retracing=True)
    def search_greedily(state: Any, context: Any) -> Hypotheses:
        return greedy(step, state, context, max_length=MAX_LENGTH)

    @tf.function(reduce_retracing=True)
    def search_beams(state: Any, context: Any) -> Hypotheses:
        return beam_search(
            step, state, context, max_length=MAX_LENGTH, beam_width=arguments.beam_width
        )

    def one_by_one() -> None:
        for row in range(arguments.examples):
            rows = slice(row, row + 1)
            search_beams(*tf.nest.map_structure(lambda x, rows=rows: x[rows], (state, context)))

    measured = {
        "greedy, batched": seconds_of(lambda: search_greedily(state, context)),
        f"beam {arguments.beam_width}, batched": seconds_of(lambda: search_beams(state, context)),
        f"beam {arguments.beam_width}, one at a time": seconds_of(one_by_one),
    }
    fastest = measured["greedy, batched"]
    print(f"{'':24}ms an example   times greedy")
    for name, seconds in measured.items():
        print(f"{name:24}{1e3 * seconds / arguments.examples:13.2f}{seconds / fastest:15.1f}")


if __name__ == "__main__":
    main()

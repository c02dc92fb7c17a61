"""Beam search: keeping the best few hypotheses at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from nlp_suite.decoding.constraints import NEVER, Constraints
from nlp_suite.decoding.hypotheses import (
    Hypotheses,
    Nested,
    StepFunction,
    Stepper,
    batch_size,
    loose_shapes,
    repeat_rows,
    write_column,
)
from nlp_suite.specials import BOS, EOS, PAD


class _Beam(NamedTuple):
    """The hypotheses of a batch, in places [batch, width].

    An ended hypothesis keeps its place to the end, so the search narrows as hypotheses finish and
    a width of 1 is greedy search. A place with log-probability -inf is empty.
    """

    last: tf.Tensor  # int32 [batch, width], the token to feed in next
    tokens: tf.Tensor  # int32 [batch, width, longest]
    origin: tf.Tensor  # int32 [batch, width, longest], place that computed each step's attention
    log_probability: tf.Tensor  # float32 [batch, width]
    coverage: tf.Tensor  # float32 [batch, width, memory time], attention received so far
    score: tf.Tensor  # float32 [batch, width]
    ended: tf.Tensor  # bool [batch, width], takes no more tokens
    finished: tf.Tensor  # bool [batch, width], ended by its own EOS


def beam_search(
    step: StepFunction,
    state: Nested,
    context: Nested,
    *,
    beam_width: tf.Tensor | int,
    max_length: tf.Tensor | int,
    length_penalty: tf.Tensor | float = 0.0,
    coverage_penalty: tf.Tensor | float = 0.0,
    n_best: tf.Tensor | int = 1,
    groups: int = 1,
    diversity_penalty: tf.Tensor | float = 0.0,
    min_length: tf.Tensor | int = 0,
    prefix: tf.RaggedTensor | None = None,
    no_repeat_ngram: int = 0,
    forbidden: Sequence[int] = (PAD, BOS),
    start_token: int = BOS,
) -> Hypotheses:
    """Keeps the `beam_width` most probable hypotheses at each step and returns the best.

    Hypotheses are ranked by log-probability / ((5 + length) / 6) ** length_penalty +
    coverage_penalty * sum over the memory of log(min(attention received, 1)) (Wu et al. 2016,
    https://arxiv.org/abs/1609.08144); those that `max_length` cut come after those that ended. The
    search stops as soon as no living hypothesis can come to be among the `n_best`.

    Args:
        step: One step of the model.
        state: Its state before the first step, leading axis batch.
        context: What stays constant, leading axis batch.
        beam_width: int32 [], at least 1.
        max_length: int32 [] or [batch], most tokens to generate after the prefix, EOS included.
        length_penalty: float32 [], 0 compares log-probabilities, 1 nearly their mean per token.
        coverage_penalty: float32 [], at least 0; above it favours hypotheses that attended to
            all of the memory. Memory that never receives attention is taken for padding.
        n_best: int32 [], hypotheses to return, at most `beam_width`.
        groups: Parts the beam is divided into, each kept from what the earlier ones say at the
            same step (diverse beam search, Vijayakumar et al. 2018,
            https://arxiv.org/abs/1610.02424).
        diversity_penalty: float32 [], taken from a token's log-probability for each hypothesis
            of an earlier group that chose it.
        min_length: int32 [] or [batch], tokens to generate before EOS may come.
        prefix: int32 [batch, (time)], tokens that each sequence must begin with.
        no_repeat_ngram: No n-gram of this many tokens comes twice in a sequence; 0 allows all.
        forbidden: Token ids never generated.
        start_token: The token fed in first.

    Returns:
        `n_best` hypotheses for each row of the batch, the best first.
    """
    batch = batch_size(state, context)
    group_width = tf.maximum(tf.cast(beam_width, tf.int32) // groups, 1)
    width = group_width * groups
    n_best = tf.clip_by_value(n_best, 1, width)
    rules = Constraints.create(
        batch,
        prefix=prefix,
        min_length=min_length,
        max_length=max_length,
        no_repeat_ngram=no_repeat_ngram,
        forbidden=forbidden,
    )
    row_rules = rules.repeat(width)
    stepper = Stepper(step, repeat_rows(context, width))
    state = repeat_rows(state, width)
    length_penalty = tf.cast(length_penalty, tf.float32)

    def normalizer(length: tf.Tensor) -> tf.Tensor:
        return ((5.0 + tf.cast(tf.maximum(length, 1), tf.float32)) / 6.0) ** length_penalty

    def running(time: tf.Tensor, beam: _Beam, *_: Nested) -> tf.Tensor:
        return (time == 0) | tf.reduce_any(~beam.ended & (beam.log_probability > NEVER))

    def extend(
        time: tf.Tensor, beam: _Beam, state: Nested, attentions: tf.TensorArray
    ) -> tuple[tf.Tensor, _Beam, Nested, tf.TensorArray]:
        logits, state, attention = stepper(tf.reshape(beam.last, [-1]), state)
        flat_tokens = tf.reshape(beam.tokens, [batch * width, rules.longest])
        allowed = row_rules.apply(logits, flat_tokens, time)
        normal = tf.where(row_rules.is_forced(time), 0.0, tf.reduce_logsumexp(logits, axis=-1))
        allowed = tf.reshape(allowed, [batch, width, tf.shape(logits)[-1]])
        normal = tf.reshape(normal, [batch, width])
        parents, tokens, exists = _choose(allowed, normal, beam, groups, diversity_penalty)

        gained = _pick(allowed, parents, tokens) - tf.gather(normal, parents, batch_dims=1)
        attentions = attentions.write(time, attention)
        attention = tf.reshape(attention, [batch, width, tf.shape(attention)[-1]])
        beam = beam._replace(coverage=beam.coverage + attention)
        beam = tf.nest.map_structure(lambda x: tf.gather(x, parents, batch_dims=1), beam)
        rows = tf.reshape(tf.range(batch)[:, tf.newaxis] * width + parents, [-1])
        state = tf.nest.map_structure(lambda x: tf.gather(x, rows), state)

        was_ended = beam.ended
        forced = rules.is_forced(time)[:, tf.newaxis]
        log_probability = beam.log_probability + tf.where(was_ended, 0.0, gained)
        log_probability = tf.where(exists, log_probability, NEVER)
        length = time + 1 - rules.prefix_length
        score = log_probability / normalizer(length)[:, tf.newaxis]
        score += coverage_penalty * _log_coverage(beam.coverage)
        score = tf.where(was_ended & exists, beam.score, score)
        finished = beam.finished | (~was_ended & ~forced & (tokens == EOS))
        finished &= log_probability > NEVER
        ended = was_ended | finished | rules.is_last(time)[:, tf.newaxis]

        ranked = tf.math.top_k(tf.where(finished, score, NEVER), n_best).values
        best_divisor = tf.maximum(normalizer(length), normalizer(rules.max_length))
        hopeless = ~ended & (log_probability / best_divisor[:, tf.newaxis] <= ranked[:, -1:])
        log_probability = tf.where(hopeless, NEVER, log_probability)
        beam = _Beam(
            last=tokens,
            tokens=write_column(beam.tokens, time, tokens),
            origin=write_column(beam.origin, time, parents),
            log_probability=log_probability,
            coverage=beam.coverage,
            score=tf.where(hopeless, NEVER, score),
            ended=ended,
            finished=finished,
        )
        return time + 1, beam, state, attentions

    beam = _first_beam(batch, group_width, groups, rules.longest, start_token)
    attentions = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)
    time, beam, _, attentions = tf.while_loop(
        running,
        extend,
        (tf.constant(0), beam, state, attentions),
        shape_invariants=(
            tf.TensorShape([]),
            loose_shapes(beam, keep_features=False),
            loose_shapes(state, keep_features=True),
            None,
        ),
    )
    best = _ranking(beam)[:, :n_best]
    chosen = tf.nest.map_structure(lambda x: tf.gather(x, best, batch_dims=1), beam)
    tokens = chosen.tokens[:, :, :time]
    attention = None
    if stepper.attends:
        attention = attentions.stack()
        attention = tf.reshape(attention, [time, batch, width, tf.shape(attention)[-1]])
        attention = _trace(attention, chosen.origin[:, :, :time])
        attention = tf.where(tokens[..., tf.newaxis] == PAD, 0.0, attention)
    return Hypotheses(tokens, chosen.log_probability, chosen.score, attention)


def _first_beam(
    batch: tf.Tensor, group_width: tf.Tensor, groups: int, longest: tf.Tensor, start_token: int
) -> _Beam:
    """Returns a beam with one empty hypothesis in each group."""
    places = [batch, group_width * groups]
    first = tf.tile(tf.range(group_width) == 0, [groups])[tf.newaxis]
    return _Beam(
        last=tf.fill(places, start_token),
        tokens=tf.fill([*places, longest], PAD),
        origin=tf.zeros([*places, longest], tf.int32),
        log_probability=tf.where(tf.repeat(first, batch, axis=0), 0.0, NEVER),
        coverage=tf.zeros([*places, 1]),
        score=tf.fill(places, NEVER),
        ended=tf.zeros(places, tf.bool),
        finished=tf.zeros(places, tf.bool),
    )


def _choose(
    logits: tf.Tensor,
    normal: tf.Tensor,
    beam: _Beam,
    groups: int,
    diversity_penalty: tf.Tensor | float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Chooses the next hypotheses, each [batch, width].

    Returns:
        The place each one continues, int32; its token, int32; and whether there is one, bool.
    """
    base = beam.log_probability - normal
    if groups == 1:
        return _best(logits, base, beam.ended, beam.log_probability)
    width = tf.shape(base)[1] // groups
    said = tf.zeros_like(logits[:, 0])  # [batch, vocabulary]
    chosen = []
    for group in range(groups):
        places = slice(group * width, (group + 1) * width)
        diverse = logits[:, places] - diversity_penalty * said[:, tf.newaxis]
        parents, tokens, exist = _best(
            diverse, base[:, places], beam.ended[:, places], beam.log_probability[:, places]
        )
        said += tf.reduce_sum(tf.one_hot(tokens, tf.shape(logits)[-1]), axis=1)
        chosen.append((parents + group * width, tokens, exist))
    parents, tokens, exist = (tf.concat(parts, axis=1) for parts in zip(*chosen, strict=True))
    return parents, tokens, exist


def _best(
    logits: tf.Tensor, base: tf.Tensor, ended: tf.Tensor, log_probability: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Chooses as many (place, token) as there are places; ended hypotheses keep theirs.

    An ended hypothesis has one continuation, PAD, which outranks those of the living. Taking the
    best few of each place before the best of all saves a pass over the whole vocabulary.
    """
    batch, width, vocabulary = tf.unstack(tf.shape(logits))
    few = tf.minimum(width, vocabulary)
    values, tokens = tf.math.top_k(logits, few)  # [batch, width, few]
    keep = tf.where(log_probability > NEVER, tf.float32.max, NEVER)[..., tf.newaxis]
    keep = tf.where(tf.range(few) == 0, keep, NEVER)
    totals = tf.where(ended[..., tf.newaxis], keep, base[..., tf.newaxis] + values)
    tokens = tf.where(ended[..., tf.newaxis], PAD, tokens)
    best, winners = tf.math.top_k(tf.reshape(totals, [batch, width * few]), width)
    chosen = tf.gather(tf.reshape(tokens, [batch, width * few]), winners, batch_dims=1)
    return winners // few, chosen, best > NEVER


def _pick(logits: tf.Tensor, places: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Reads logits[batch, place, token] for each pair, float32 [batch, width]."""
    batch, width, vocabulary = tf.unstack(tf.shape(logits))
    flat = tf.reshape(logits, [batch, width * vocabulary])
    return tf.gather(flat, places * vocabulary + tokens, batch_dims=1)


def _log_coverage(coverage: tf.Tensor) -> tf.Tensor:
    """Sums log(min(attention received, 1)) over the memory that received any, [batch, width]."""
    received = tf.where(coverage > 0.0, tf.minimum(coverage, 1.0), 1.0)
    return tf.reduce_sum(tf.math.log(received), axis=-1)


def _ranking(beam: _Beam) -> tf.Tensor:
    """Orders the places by score, finished hypotheses first, int32 [batch, width]."""
    by_score = tf.argsort(beam.score, direction="DESCENDING", stable=True)
    unfinished = tf.cast(~tf.gather(beam.finished, by_score, batch_dims=1), tf.int32)
    return tf.gather(by_score, tf.argsort(unfinished, stable=True), batch_dims=1)


def _trace(attention: tf.Tensor, origin: tf.Tensor) -> tf.Tensor:
    """Gathers each hypothesis's attention, [batch, n, time, memory time].

    Args:
        attention: float32 [time, batch, width, memory time], as computed at each step.
        origin: int32 [batch, n, time], the place that computed each step of each hypothesis.
    """
    at_times = tf.gather(
        tf.transpose(attention, [1, 0, 2, 3]), tf.transpose(origin, [0, 2, 1]), batch_dims=2
    )
    return tf.transpose(at_times, [0, 2, 1, 3])

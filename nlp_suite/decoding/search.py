"""Beam search: keeping the best few hypotheses at each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from nlp_suite.decoding.penalties import Penalties
from nlp_suite.decoding.selection import best_continuations
from nlp_suite.specials import BOS, EOS, PAD


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
    rules = Constraints.create(
        batch,
        prefix=prefix,
        min_length=min_length,
        max_length=max_length,
        no_repeat_ngram=no_repeat_ngram,
        forbidden=forbidden,
    )
    search = _Search(
        stepper=Stepper(step, repeat_rows(context, width)),
        rules=rules.repeat(width),
        penalties=Penalties(tf.cast(length_penalty, tf.float32), coverage_penalty),
        batch=batch,
        width=width,
        n_best=tf.clip_by_value(n_best, 1, width),
        groups=groups,
        diversity_penalty=diversity_penalty,
    )
    return search.run(repeat_rows(state, width), start_token)


class _Beam(NamedTuple):
    """The hypotheses of a batch; rows is batch x width, those of an example next to each other.

    An ended hypothesis keeps its row to the end, so the search narrows as hypotheses finish, and a
    width of 1 is greedy search. A row with log-probability -inf is empty.
    """

    last: tf.Tensor  # int32 [rows], the token to feed in next
    tokens: tf.Tensor  # int32 [rows, longest]
    origin: tf.Tensor  # int32 [rows, longest], row that computed the attention of each step
    log_probability: tf.Tensor  # float32 [rows]
    received: tf.Tensor  # float32 [rows, memory time], attention so far
    score: tf.Tensor  # float32 [rows]
    ended: tf.Tensor  # bool [rows], takes no more tokens
    finished: tf.Tensor  # bool [rows], ended by an EOS of its own

    @property
    def exists(self) -> tf.Tensor:
        """Whether there is a hypothesis, bool [rows]."""
        return self.log_probability > NEVER


@dataclass(frozen=True)
class _Search:
    """One search; all tensors of a beam have its rows as leading axis."""

    stepper: Stepper
    rules: Constraints
    penalties: Penalties
    batch: tf.Tensor
    width: tf.Tensor
    n_best: tf.Tensor
    groups: int
    diversity_penalty: tf.Tensor | float

    def run(self, state: Nested, start_token: int) -> Hypotheses:
        """Extends the beam until all hypotheses have ended or been given up."""
        beam = self._first(start_token)
        attentions = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)
        time, beam, _, attentions = tf.while_loop(
            lambda time, beam, *_: (time == 0) | tf.reduce_any(beam.exists & ~beam.ended),
            self._extend,
            (tf.constant(0), beam, state, attentions),
            shape_invariants=(
                tf.TensorShape([]),
                loose_shapes(beam, keep_features=False),
                loose_shapes(state, keep_features=True),
                None,
            ),
        )
        return self._collect(beam, time, attentions)

    def _collect(self, beam: _Beam, time: tf.Tensor, attentions: tf.TensorArray) -> Hypotheses:
        """Takes the best hypotheses out of a beam, with their attention if there is any."""
        best = self._best(beam)
        shape = [self.batch, self.n_best, time]
        exists = tf.gather(beam.exists, best)[:, tf.newaxis]
        tokens = tf.where(exists, tf.gather(beam.tokens[:, :time], best), PAD)
        attention = None
        if self.stepper.attends:
            origin = tf.transpose(tf.gather(beam.origin[:, :time], best))
            attention = tf.gather(attentions.stack(), origin, batch_dims=1)  # [time, rows, memory]
            attention = tf.where(
                tokens[..., tf.newaxis] == PAD, 0.0, tf.transpose(attention, [1, 0, 2])
            )
            attention = tf.reshape(attention, [*shape, tf.shape(attention)[-1]])
        return Hypotheses(
            tf.reshape(tokens, shape),
            tf.reshape(tf.gather(beam.log_probability, best), shape[:2]),
            tf.reshape(tf.gather(beam.score, best), shape[:2]),
            attention,
        )

    def _first(self, start_token: int) -> _Beam:
        """Returns a beam with one empty hypothesis in each group of each example."""
        rows = self.batch * self.width
        is_first = tf.range(rows) % (self.width // self.groups) == 0
        return _Beam(
            last=tf.fill([rows], start_token),
            tokens=tf.fill([rows, self.rules.longest], PAD),
            origin=tf.zeros([rows, self.rules.longest], tf.int32),
            log_probability=tf.where(is_first, 0.0, NEVER),
            received=tf.zeros([rows, 1]),
            score=tf.fill([rows], NEVER),
            ended=tf.zeros([rows], tf.bool),
            finished=tf.zeros([rows], tf.bool),
        )

    def _extend(
        self, time: tf.Tensor, beam: _Beam, state: Nested, attentions: tf.TensorArray
    ) -> tuple[tf.Tensor, _Beam, Nested, tf.TensorArray]:
        """Gives each living hypothesis one more token, or its row to another one."""
        logits, state, attention = self.stepper(beam.last, state)
        attentions = attentions.write(time, attention)
        allowed = self.rules.apply(logits, beam.tokens, time)
        normal = tf.where(self.rules.is_forced(time), 0.0, tf.reduce_logsumexp(logits, axis=-1))
        parents, tokens, exists = self._choose(allowed, beam.log_probability - normal, beam)
        gain = tf.gather_nd(allowed, tf.stack([parents, tokens], axis=1)) - tf.gather(
            normal, parents
        )

        beam = beam._replace(received=beam.received + attention)
        beam, state = tf.nest.map_structure(lambda x: tf.gather(x, parents), (beam, state))
        gain = tf.where(exists, tf.where(beam.ended, 0.0, gain), NEVER)
        beam = self._continue(time, beam, tokens, gain)
        beam = beam._replace(origin=write_column(beam.origin, time, parents))
        return time + 1, self._give_up(time, beam), state, attentions

    def _choose(
        self, logits: tf.Tensor, base: tf.Tensor, beam: _Beam
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Chooses the next hypotheses, each [rows].

        Args:
            logits: float32 [rows, vocabulary].
            base: float32 [rows], what makes log-probabilities of them.
            beam: The hypotheses to continue.

        Returns:
            The row that each one continues, int32; its token, int32; whether there is one, bool.
        """
        parts = [self.batch, self.groups, self.width // self.groups]
        logits = tf.reshape(logits, [*parts, tf.shape(logits)[-1]])
        base, ended, exists = (tf.reshape(x, parts) for x in (base, beam.ended, beam.exists))
        said = tf.zeros_like(logits[:, 0, :1])  # [batch, 1, vocabulary]
        chosen = []
        for group in range(self.groups):
            diverse = (
                logits[:, group] - self.diversity_penalty * said if group else logits[:, group]
            )
            parents, tokens, exist = best_continuations(
                diverse, base[:, group], ended[:, group], exists[:, group]
            )
            chosen.append((parents + group * parts[2], tokens, exist))
            if group + 1 < self.groups:
                said += tf.reduce_sum(tf.one_hot(tokens, tf.shape(logits)[-1]), 1, keepdims=True)
        parents, tokens, exist = (tf.concat(x, axis=1) for x in zip(*chosen, strict=True))
        parents += tf.range(self.batch)[:, tf.newaxis] * self.width
        return tf.reshape(parents, [-1]), tf.reshape(tokens, [-1]), tf.reshape(exist, [-1])

    def _continue(self, time: tf.Tensor, beam: _Beam, tokens: tf.Tensor, gain: tf.Tensor) -> _Beam:
        """Appends tokens, ends hypotheses and scores them."""
        log_probability = beam.log_probability + gain
        score = self.penalties.score(log_probability, self._length(time), beam.received)
        is_end = (tokens == EOS) & ~beam.ended & ~self.rules.is_forced(time)
        return beam._replace(
            last=tokens,
            tokens=write_column(beam.tokens, time, tokens),
            log_probability=log_probability,
            score=tf.where(gain > NEVER, tf.where(beam.ended, beam.score, score), NEVER),
            ended=beam.ended | is_end | self.rules.is_last(time),
            finished=(beam.finished | is_end) & (gain > NEVER),
        )

    def _give_up(self, time: tf.Tensor, beam: _Beam) -> _Beam:
        """Empties the row of each hypothesis that cannot come to be among the n best."""
        finished = tf.reshape(tf.where(beam.finished, beam.score, NEVER), [self.batch, self.width])
        worst = tf.repeat(tf.math.top_k(finished, self.n_best).values[:, -1], self.width)
        bound = self.penalties.bound(
            beam.log_probability, self._length(time), self.rules.max_length
        )
        hopeless = ~beam.ended & (bound <= worst)
        return beam._replace(
            log_probability=tf.where(hopeless, NEVER, beam.log_probability),
            score=tf.where(hopeless, NEVER, beam.score),
        )

    def _length(self, time: tf.Tensor) -> tf.Tensor:
        """Counts the tokens generated up to and with `time`, int32 [rows]."""
        return time + 1 - self.rules.prefix_length

    def _best(self, beam: _Beam) -> tf.Tensor:
        """Orders rows by score, finished hypotheses first, int32 [batch x n_best]."""
        score, finished = (
            tf.reshape(x, [self.batch, self.width]) for x in (beam.score, beam.finished)
        )
        by_score = tf.argsort(score, direction="DESCENDING", stable=True)
        unfinished = tf.cast(~tf.gather(finished, by_score, batch_dims=1), tf.int32)
        order = tf.gather(by_score, tf.argsort(unfinished, stable=True), batch_dims=1)
        rows = tf.range(self.batch)[:, tf.newaxis] * self.width + order
        return tf.reshape(rows[:, : self.n_best], [-1])

"""One token after the other, without looking back: the most probable one, or a random one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

Choose = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""(logits float32 [rows, vocabulary], time int32 []) -> tokens int32 [rows]."""


def greedy(
    step: StepFunction,
    state: Nested,
    context: Nested,
    *,
    max_length: tf.Tensor | int,
    min_length: tf.Tensor | int = 0,
    prefix: tf.RaggedTensor | None = None,
    no_repeat_ngram: int = 0,
    forbidden: Sequence[int] = (PAD, BOS),
    start_token: int = BOS,
) -> Hypotheses:
    """Takes the most probable token at each step.

    Args:
        step: One step of the model.
        state: Its state before the first step, leading axis batch.
        context: What stays constant, leading axis batch.
        max_length: int32 [] or [batch], most tokens to generate after the prefix, EOS included.
        min_length: int32 [] or [batch], tokens to generate before EOS may come.
        prefix: int32 [batch, (time)], tokens that each sequence must begin with.
        no_repeat_ngram: No n-gram of this many tokens comes twice in a sequence; 0 allows all.
        forbidden: Token ids never generated.
        start_token: The token fed in first.

    Returns:
        One hypothesis for each row of the batch; its score is its log-probability.

    Example:
        A model whose next token is always the last one plus one ends when it reaches EOS, 3:

        >>> from nlp_suite.decoding import greedy
        >>> count = lambda tokens, state, context: (tf.one_hot(tokens + 1, 6) * 99.0, state, None)
        >>> greedy(count, tf.zeros([1, 1]), (), max_length=5).tokens.numpy().tolist()
        [[[3]]]
        >>> greedy(count, tf.zeros([1, 1]), (), max_length=5, min_length=2,
        ...        prefix=tf.ragged.constant([[4]])).tokens.numpy().tolist()
        [[[4, 5, 1, 1, 1, 1]]]
    """
    batch = batch_size(state, context)
    rules = Constraints.create(
        batch,
        prefix=prefix,
        min_length=min_length,
        max_length=max_length,
        no_repeat_ngram=no_repeat_ngram,
        forbidden=forbidden,
    )

    def choose(logits: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.argmax(logits, axis=-1, output_type=tf.int32)

    return _generate(Stepper(step, context), state, choose, rules, batch, 1, start_token)


def sample(
    step: StepFunction,
    state: Nested,
    context: Nested,
    *,
    max_length: tf.Tensor | int,
    seed: tf.Tensor | int,
    temperature: tf.Tensor | float = 1.0,
    top_k: tf.Tensor | int = 0,
    top_p: tf.Tensor | float = 1.0,
    samples: tf.Tensor | int = 1,
    independent: bool = False,
    min_length: tf.Tensor | int = 0,
    prefix: tf.RaggedTensor | None = None,
    no_repeat_ngram: int = 0,
    forbidden: Sequence[int] = (PAD, BOS),
    start_token: int = BOS,
) -> Hypotheses:
    """Draws each token at random, by the model's probabilities.

    Args:
        step: One step of the model.
        state: Its state before the first step, leading axis batch.
        context: What stays constant, leading axis batch.
        max_length: int32 [] or [batch], most tokens to generate after the prefix, EOS included.
        seed: int32 []. The same seed draws the same for an example, in any process, on any device
            and in any batch.
        temperature: float32 [], divides the logits: below 1 keeps to the probable.
        top_k: int32 [], draws from that many most probable tokens (Fan et al. 2018,
            https://arxiv.org/abs/1805.04833); 0 draws from all.
        top_p: float32 [], draws from the fewest tokens that have this probability together
            (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751); 1 draws from all.
        samples: int32 [], hypotheses drawn for each row of the batch.
        independent: Whether each row draws by itself, so that the mean over a batch varies less;
            what is drawn for an example then depends on its place in the batch.
        min_length: int32 [] or [batch], tokens to generate before EOS may come.
        prefix: int32 [batch, (time)], tokens that each sequence must begin with.
        no_repeat_ngram: No n-gram of this many tokens comes twice in a sequence; 0 allows all.
        forbidden: Token ids never generated.
        start_token: The token fed in first.

    Returns:
        `samples` hypotheses for each row, in the order drawn; score and log-probability are the
        model's own, at temperature 1.
    """
    batch = batch_size(state, context)
    samples = tf.maximum(samples, 1)
    rules = Constraints.create(
        batch,
        prefix=prefix,
        min_length=min_length,
        max_length=max_length,
        no_repeat_ngram=no_repeat_ngram,
        forbidden=forbidden,
    ).repeat(samples)
    temperature = tf.maximum(tf.cast(temperature, tf.float32), 1e-3)
    draws = batch * samples if independent else samples

    def choose(logits: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
        step_seed = tf.stack([tf.cast(seed, tf.int32), time])
        return _draw(logits / temperature, top_k, top_p, step_seed, draws)

    stepper = Stepper(step, repeat_rows(context, samples))
    return _generate(
        stepper, repeat_rows(state, samples), choose, rules, batch, samples, start_token
    )


def _draw(
    logits: tf.Tensor,
    top_k: tf.Tensor | int,
    top_p: tf.Tensor | float,
    seed: tf.Tensor,
    draws: tf.Tensor,
) -> tf.Tensor:
    """Draws one of the likeliest tokens of each row, int32 [rows]; sorts only where it must."""

    def from_all() -> tf.Tensor:
        return _draw_index(logits, seed, draws)

    def from_likeliest() -> tf.Tensor:
        vocabulary = tf.shape(logits)[-1]
        count = tf.where(top_k > 0, tf.minimum(top_k, vocabulary), vocabulary)
        likeliest, ids = tf.math.top_k(logits, count)
        before = tf.cumsum(tf.nn.softmax(likeliest), axis=-1, exclusive=True)
        likeliest = tf.where(before < tf.maximum(top_p, 1e-6), likeliest, NEVER)
        return tf.gather(ids, _draw_index(likeliest, seed, draws), batch_dims=1)

    top_k, top_p = tf.convert_to_tensor(top_k), tf.convert_to_tensor(top_p)
    return tf.cond((top_k > 0) | (top_p < 1.0), from_likeliest, from_all)


def _draw_index(logits: tf.Tensor, seed: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Draws from the softmax of each row by the Gumbel-max trick, int32 [rows].

    The index of the largest logit, once Gumbel noise is added to each, is such a draw (Gumbel
    1954). The noise of the first `draws` rows comes again in the next ones. Where they are the
    samples of one example, what is drawn for it depends neither on the others in the batch nor,
    with Philox, on the device.
    """
    rows, vocabulary = tf.unstack(tf.shape(logits))
    uniform = tf.random.stateless_uniform(
        [draws, vocabulary], seed, minval=1e-20, maxval=1.0, alg="philox"
    )
    noise = tf.tile(-tf.math.log(-tf.math.log(uniform)), [rows // draws, 1])
    return tf.argmax(logits + noise, axis=-1, output_type=tf.int32)


class _Rows(NamedTuple):
    """What changes from step to step, for each row."""

    last: tf.Tensor  # int32 [rows], the token to feed in next
    tokens: tf.Tensor  # int32 [rows, longest]
    log_probability: tf.Tensor  # float32 [rows]
    ended: tf.Tensor  # bool [rows]


def _generate(
    stepper: Stepper,
    state: Nested,
    choose: Choose,
    rules: Constraints,
    batch: tf.Tensor,
    samples: tf.Tensor | int,
    start_token: int,
) -> Hypotheses:
    """Chooses token after token until each row has ended; rows is batch x samples."""
    count = batch * samples
    rows = _Rows(
        tf.fill([count], start_token),
        tf.fill([count, rules.longest], PAD),
        tf.zeros([count]),
        tf.zeros([count], tf.bool),
    )
    attentions = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)

    def running(time: tf.Tensor, rows: _Rows, *_: Nested) -> tf.Tensor:
        return (time == 0) | ~tf.reduce_all(rows.ended)

    def extend(
        time: tf.Tensor, rows: _Rows, state: Nested, attentions: tf.TensorArray
    ) -> tuple[tf.Tensor, _Rows, Nested, tf.TensorArray]:
        logits, state, attention = stepper(rows.last, state)
        token = choose(rules.apply(logits, rows.tokens, time), time)
        token = tf.where(rows.ended, PAD, token)
        gain = tf.gather(logits, token, batch_dims=1) - tf.reduce_logsumexp(logits, axis=-1)
        free = ~rows.ended & ~rules.is_forced(time)
        attentions = attentions.write(time, tf.where(rows.ended[:, tf.newaxis], 0.0, attention))
        rows = _Rows(
            token,
            write_column(rows.tokens, time, token),
            rows.log_probability + tf.where(free, gain, 0.0),
            rows.ended | (free & (token == EOS)) | rules.is_last(time),
        )
        return time + 1, rows, state, attentions

    initial = (tf.constant(0), rows, state, attentions)
    time, rows, _, attentions = tf.while_loop(
        running,
        extend,
        initial,
        shape_invariants=(
            tf.TensorShape([]),
            loose_shapes(rows, keep_features=False),
            loose_shapes(state, keep_features=True),
            None,
        ),
    )
    shape = [batch, samples, time]
    log_probability = tf.reshape(rows.log_probability, shape[:2])
    attention = None
    if stepper.attends:
        attention = tf.transpose(attentions.stack(), [1, 0, 2])
        attention = tf.reshape(attention, [*shape, tf.shape(attention)[-1]])
    tokens = tf.reshape(rows.tokens[:, :time], shape)
    return Hypotheses(tokens, log_probability, log_probability, attention)

"""How probable a given text is to a model, and several models as one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from nlp_suite.decoding.hypotheses import (
    Nested,
    StepFunction,
    Stepper,
    loose_shapes,
    write_column,
)
from nlp_suite.specials import BOS, PAD


def score(
    step: StepFunction,
    state: Nested,
    context: Nested,
    targets: tf.RaggedTensor,
    *,
    start_token: int = BOS,
) -> tf.Tensor:
    """Returns the log-probability of each token of a given text.

    Args:
        step: One step of the model.
        state: Its state before the first step, leading axis batch.
        context: What stays constant, leading axis batch.
        targets: int32 [batch, (time)], with the EOS if it is to count.
        start_token: The token fed in first.

    Returns:
        float32 [batch, time], natural logarithms; 0 after a row's end. Their sum over time is the
        text's log-probability.

    Example:
        >>> from nlp_suite.decoding import score
        >>> indifferent = lambda tokens, state, context: (tf.zeros([1, 4]), state, None)
        >>> score(indifferent, tf.zeros([1, 1]), (), tf.ragged.constant([[2, 3]])).numpy().round(4)
        array([[-1.3863, -1.3863]], dtype=float32)
    """
    gains, _ = follow(step, state, context, targets.to_tensor(PAD), start_token=start_token)
    return tf.where(tf.sequence_mask(targets.row_lengths(), tf.shape(gains)[1]), gains, 0.0)


def follow(
    step: StepFunction,
    state: Nested,
    context: Nested,
    tokens: tf.Tensor,
    *,
    start_token: int = BOS,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Takes the steps that write given texts.

    Args:
        step: One step of the model.
        state: Its state before the first step, leading axis batch.
        context: What stays constant, leading axis batch.
        tokens: int32 [batch, time], right-padded with PAD.
        start_token: The token fed in first.

    Returns:
        The log-probability of each token, float32 [batch, time], and what it attended to, float32
        [batch, time, memory time], or None; both 0 at PAD.
    """
    stepper = Stepper(step)
    tokens = tf.cast(tokens, tf.int32)
    batch, times = tf.unstack(tf.shape(tokens))
    inputs = tf.concat([tf.fill([batch, 1], start_token), tokens], axis=1)
    attentions = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)

    def advance(
        time: tf.Tensor, state: Nested, gains: tf.Tensor, attentions: tf.TensorArray
    ) -> tuple[tf.Tensor, Nested, tf.Tensor, tf.TensorArray]:
        logits, state, attention = stepper(tf.gather(inputs, time, axis=1), state, context)
        token = tf.gather(tokens, time, axis=1)
        gain = tf.gather(logits, token, batch_dims=1) - tf.reduce_logsumexp(logits, axis=-1)
        gains = write_column(gains, time, gain)
        return time + 1, state, gains, attentions.write(time, attention)

    _, _, gains, attentions = tf.while_loop(
        lambda time, *_: time < times,
        advance,
        (tf.constant(0), state, tf.zeros([batch, times]), attentions),
        shape_invariants=(
            tf.TensorShape([]),
            loose_shapes(state, keep_features=True),
            tf.TensorShape([None, None]),
            None,
        ),
    )
    real = tokens != PAD
    gains = tf.where(real, gains, 0.0)
    if not stepper.attends:
        return gains, None
    attention = tf.transpose(attentions.stack(), [1, 0, 2])
    return gains, tf.where(real[..., tf.newaxis], attention, 0.0)


def ensemble(steps: Sequence[StepFunction]) -> StepFunction:
    """Makes one step function of several: the average of their log-probabilities.

    Args:
        steps: Step functions over the same vocabulary.

    Returns:
        A step function whose state and context are tuples of those of `steps`. Its attention is
        the average of theirs; None where one of them has none.

    Example:
        Two models that are sure of 0 and of 1 are undecided together:

        >>> from nlp_suite.decoding import ensemble
        >>> sure = lambda token: (lambda tokens, state, context:
        ...     (tf.one_hot([token], 2) * 9.0, state, None))
        >>> logits, _, _ = ensemble([sure(0), sure(1)])(tf.constant([2]), ((), ()), ((), ()))
        >>> tf.nn.softmax(logits).numpy()
        array([[0.5, 0.5]], dtype=float32)
    """

    def step(
        tokens: tf.Tensor, states: Nested, contexts: Nested
    ) -> tuple[tf.Tensor, Nested, tf.Tensor | None]:
        logits, new_states, attentions = zip(
            *(one(tokens, *given) for one, *given in zip(steps, states, contexts, strict=True)),
            strict=True,
        )
        average = tf.add_n([tf.nn.log_softmax(each) for each in logits]) / len(steps)
        attention = None
        if all(each is not None for each in attentions):
            attention = tf.add_n(list(attentions)) / len(steps)
        return average, new_states, attention

    return step

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
    stepper = Stepper(step, context)
    dense = tf.cast(targets.to_tensor(PAD), tf.int32)
    batch, times = tf.unstack(tf.shape(dense))
    inputs = tf.concat([tf.fill([batch, 1], start_token), dense], axis=1)
    real = tf.sequence_mask(targets.row_lengths(), times)

    def advance(
        time: tf.Tensor, state: Nested, gains: tf.Tensor
    ) -> tuple[tf.Tensor, Nested, tf.Tensor]:
        logits, state, _ = stepper(tf.gather(inputs, time, axis=1), state)
        token = tf.gather(dense, time, axis=1)
        gain = tf.gather(logits, token, batch_dims=1) - tf.reduce_logsumexp(logits, axis=-1)
        return time + 1, state, write_column(gains, time, gain)

    _, _, gains = tf.while_loop(
        lambda time, *_: time < times,
        advance,
        (tf.constant(0), state, tf.zeros([batch, times])),
        shape_invariants=(
            tf.TensorShape([]),
            loose_shapes(state, keep_features=True),
            tf.TensorShape([None, None]),
        ),
    )
    return tf.where(real, gains, 0.0)


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

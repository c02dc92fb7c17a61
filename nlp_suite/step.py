"""One step of training: from a batch to new weights, and from a batch to validation metrics."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from nlp_suite.config import Config
from nlp_suite.optimization import make_average
from nlp_suite.task import Task

Tensors = Any
"""A tensor, or tensors in any structure."""


class Learner(keras.Model):
    """A task's network with the step that trains it, for `fit` and `evaluate`.

    Four things are done otherwise than by Keras's own step. The gradient of an embedding is summed
    over the rows that occur more than once before the optimizer sees it: Adam on TensorFlow squares
    them first and sums them then, which is another algorithm. The loss is a mean over the real
    tokens of the whole batch, however it is cut into micro-batches and replicas. Gradients are
    clipped after they were summed. The state of a recurrent network can be carried from batch to
    batch.

    Args:
        task: Gives the loss and the metrics.
        network: What the task's `build_model` made.
        config: Training settings.
        streams: Rows of every batch when the task carries state, else 0.
    """

    def __init__(
        self, task: Task[Any], network: keras.Model, config: Config, streams: int = 0
    ) -> None:
        super().__init__()
        self.task = task
        self.network = network
        self.config = config
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.norm_metric = keras.metrics.Mean(name="gradient_norm")
        self.task_metrics = task.metrics()
        self.carried = self._carried_variables(streams) if streams else []
        self.average = make_average(config, network.trainable_variables)
        self.built = True

    def call(self, inputs: Tensors, training: bool | None = None) -> Any:
        """Gives the network's logits."""
        return self.network(inputs, training=training)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Everything that is averaged over an epoch and then reset."""
        return [self.loss_metric, self.norm_metric, *self.task_metrics]

    def train_step(self, data: tuple[Tensors, Tensors]) -> dict[str, Any]:
        """Takes one step down the gradient of a batch's mean loss."""
        loss, weight, gradients = self._accumulate(*data)
        replicas = tf.distribute.get_replica_context()
        if replicas.num_replicas_in_sync > 1:
            total = replicas.all_reduce("SUM", weight)
            share = weight / total
            gradients = replicas.all_reduce("SUM", [g * share for g in gradients])
            # The optimizer sums over replicas once more.
            gradients = [g / replicas.num_replicas_in_sync for g in gradients]
        gradients, norm = self._clip(gradients, replicas.num_replicas_in_sync)
        self.optimizer.apply(gradients, self.trainable_variables)
        if self.average:
            self.average.update()
        self.loss_metric.update_state(loss, weight)
        is_finite = tf.math.is_finite(norm)
        self.norm_metric.update_state(
            tf.where(is_finite, norm, 0.0), tf.cast(is_finite, tf.float32)
        )
        return {m.name: m.result() for m in (self.loss_metric, self.norm_metric)}

    def test_step(self, data: tuple[Tensors, Tensors]) -> dict[str, Any]:
        """Measures a batch without learning from it."""
        inputs, targets = data
        logits = self._logits(inputs, slice(None), training=False)
        losses, weights = self.task.loss(logits, targets)
        self.loss_metric.update_state(losses, weights)
        for metric in self.task_metrics:
            metric.update_state(targets, logits, weights)
        return {m.name: m.result() for m in (self.loss_metric, *self.task_metrics)}

    def forget(self) -> None:
        """Sets the carried state to zero, for the beginning of a stream."""
        for variable in self.carried:
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    def _carried_variables(self, streams: int) -> list[keras.Variable]:
        self._state = self.network.zero_state(streams)
        return [
            keras.Variable(
                tf.zeros(part.shape, part.dtype), trainable=False, autocast=False, name="carried"
            )
            for part in keras.tree.flatten(self._state)
        ]

    def _logits(self, inputs: Tensors, rows: slice, *, training: bool) -> Any:
        """Runs the network, from the carried state and back into it where there is one."""
        if not self.carried:
            return self.network(inputs, training=training)
        before = [variable.value[rows] for variable in self.carried]
        state = keras.tree.pack_sequence_as(self._state, before)
        logits, state = self.network.call_with_state(inputs, state, training=training)
        for variable, after in zip(self.carried, keras.tree.flatten(state), strict=True):
            variable.value[rows].assign(tf.stop_gradient(after))
        return logits

    def _gradients(self, inputs: Tensors, targets: Tensors, rows: slice) -> tuple[Any, Any, Any]:
        """Gives the mean loss, its total weight and its scaled, dense gradients."""
        with tf.GradientTape() as tape:
            logits = self._logits(inputs, rows, training=True)
            losses, weights = self.task.loss(logits, targets)
            weight = tf.reduce_sum(weights)
            loss = tf.math.divide_no_nan(tf.reduce_sum(losses * weights), weight)
            smoothed = self._smooth(loss, logits, weights / tf.maximum(weight, 1e-9))
            objective = self.optimizer.scale_loss(smoothed + sum(self.network.losses))
        gradients = tape.gradient(
            objective,
            [v.value for v in self.trainable_variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return loss, weight, [tf.convert_to_tensor(g) for g in gradients]

    def _smooth(self, loss: Any, logits: Any, weights: Any) -> Any:
        """Mixes in the loss against all classes alike (Szegedy et al. 2016, arXiv:1512.00567)."""
        share = self.config.label_smoothing
        if not share:
            return loss
        uniform = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
        return (1 - share) * loss + share * tf.reduce_sum(uniform * weights)

    def _accumulate(self, inputs: Tensors, targets: Tensors) -> tuple[Any, Any, Any]:
        """Does `_gradients` in so many micro-batches, one after the other, to save memory."""
        if self.config.micro_batches == 1:
            return self._gradients(inputs, targets, slice(None))
        size = tf.shape(targets)[0]
        parts = tf.minimum(self.config.micro_batches, size)

        def add(i: Any, total_loss: Any, total_weight: Any, sums: list[Any]) -> tuple[Any, ...]:
            rows = slice(i * size // parts, (i + 1) * size // parts)
            part = keras.tree.map_structure(lambda tensor: tensor[rows], (inputs, targets))
            loss, weight, gradients = self._gradients(*part, rows)
            sums = [total + weight * g for total, g in zip(sums, gradients, strict=True)]
            return i + 1, total_loss + loss * weight, total_weight + weight, sums

        zeros = [tf.zeros(v.shape, v.dtype) for v in self.trainable_variables]
        _, loss, weight, sums = tf.while_loop(
            lambda i, *_: i < parts, add, (0, 0.0, 0.0, zeros), parallel_iterations=1
        )
        weight = tf.maximum(weight, 1e-9)
        return loss / weight, weight, [total / weight for total in sums]

    def _clip(self, gradients: list[Any], replicas: int) -> tuple[list[Any], Any]:
        """Shortens the gradients to the norm allowed, and gives the norm they had."""
        scale = self.optimizer.scale_loss(1.0) / replicas
        norm = tf.linalg.global_norm(gradients) / scale
        if not self.config.clip_norm:
            return gradients, norm
        factor = tf.minimum(1.0, self.config.clip_norm / norm)
        return [g * factor for g in gradients], norm

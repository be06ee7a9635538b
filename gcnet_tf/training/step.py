"""The optimiser step under a strategy."""

from collections.abc import Callable

import keras
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.data.stream.photometric import distort_batch
from gcnet_tf.data.stream.pipeline import TrainingBatch
from gcnet_tf.models import Segmentor
from gcnet_tf.training.optimization.losses import cross_entropy


def make_train_step(
    model: Segmentor,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    auxiliary_weight: float,
    loss_of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = cross_entropy,
    change_colours: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    accumulate: int = 1,
    jit_compile: bool = False,
) -> Callable[[TrainingBatch], dict[str, tf.Tensor]]:
    """Returns a function that makes a step with a distributed batch.

    The function returns the losses, which are means over the global batch:
    `decode_loss`, the weighted `auxiliary_loss`, and `regularization_loss` where a
    layer of the user has one. The step minimises their sum.

    Args:
        model: the model.
        optimizer: built optimiser of the model.
        strategy: the strategy of both.
        auxiliary_weight: factor on the auxiliary loss.
        loss_of: the loss, a function of the logits of a head and the labels.
        change_colours: augmentation of images by seeds, see augment.layer; None for
            none.
        accumulate: number of equal parts of a replica's batch that are computed one
            after the other, each in the memory of the one before. Each is normalised
            by its own statistics, over all replicas, as a batch of its size would be.
        jit_compile: whether XLA compiles the step; on one replica.
    """
    num_parts = strategy.num_replicas_in_sync * accumulate
    weights = model.trainable_weights

    def gradients_of(
        batch: TrainingBatch,
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        images = batch["image"]
        if "distortion" in batch:  # augment.photometric_on_device
            images = distort_batch(images, batch["distortion"], batch["valid_size"])
        if change_colours is not None:
            images = change_colours(images, batch["seed"])
        with tf.GradientTape() as tape:
            outputs = model(
                images,
                valid_size=batch["valid_size"],
                dropout_seeds=batch["seed"],
                training=True,
            )
            labels = batch["label"]
            losses = {"decode_loss": loss_of(outputs["logits"], labels)}
            if "aux_logits" in outputs:
                auxiliary_loss = loss_of(outputs["aux_logits"], labels)
                losses["auxiliary_loss"] = auxiliary_weight * auxiliary_loss
            # Regularisers, and whatever else a layer of the user adds.
            if added := compat.added_losses(model, outputs["logits"]):
                losses["regularization_loss"] = tf.add_n(added)
            # Gradients are summed over the parts of all replicas, which have equal
            # numbers of samples: the mean of their means is that of the global batch.
            loss = tf.add_n(list(losses.values())) / num_parts
            loss = compat.scale_loss(optimizer, loss)
        return losses, tape.gradient(loss, weights)

    def replica_step(batch: TrainingBatch) -> dict[str, tf.Tensor]:
        losses, gradients = gradients_of(_part(batch, 0, accumulate))
        for index in range(1, accumulate):
            # Not before the part in front has given its memory back.
            with tf.control_dependencies(_known(gradients)):
                part = _part(batch, index, accumulate)
            more_losses, more_gradients = gradients_of(part)
            losses = {name: losses[name] + more_losses[name] for name in losses}
            gradients = [
                None if more is None else gradient + more
                for gradient, more in zip(gradients, more_gradients)
            ]
        compat.apply_gradients(optimizer, gradients, weights)
        return {name: value / accumulate for name, value in losses.items()}

    @tf.function(jit_compile=jit_compile)
    def train_step(batch):
        losses = strategy.run(replica_step, args=(batch,))
        return {
            name: strategy.reduce("MEAN", value, axis=None)
            for name, value in losses.items()
        }

    return train_step


def _part(batch: TrainingBatch, index: int, num_parts: int) -> TrainingBatch:
    """Returns one of the equal parts of a replica's batch."""
    if num_parts == 1:
        return batch
    return tf.nest.map_structure(
        lambda values: tf.identity(tf.split(values, num_parts)[index]), batch
    )


def _known(gradients: list[tf.Tensor | None]) -> list[tf.Tensor]:
    return [gradient for gradient in gradients if gradient is not None]

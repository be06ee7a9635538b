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
    """
    num_replicas = strategy.num_replicas_in_sync
    weights = model.trainable_weights

    def replica_step(batch: TrainingBatch) -> dict[str, tf.Tensor]:
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
            # Gradients are summed over the replicas, which have equal numbers of
            # samples: the mean of their means is the mean over the global batch.
            loss = tf.add_n(list(losses.values())) / num_replicas
            loss = compat.scale_loss(optimizer, loss)
        compat.apply_gradients(optimizer, tape.gradient(loss, weights), weights)
        return losses

    @tf.function(jit_compile=False)  # XLA fails with SyncBN (keras#17187, #20763)
    def train_step(batch):
        losses = strategy.run(replica_step, args=(batch,))
        return {
            name: strategy.reduce("MEAN", value, axis=None)
            for name, value in losses.items()
        }

    return train_step

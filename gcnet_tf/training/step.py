"""The optimiser step under a strategy."""

from collections.abc import Callable, Sequence

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
    `decode_loss` and the weighted `auxiliary_loss`. The step minimises their sum.

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
    share_verdict = num_replicas > 1 and compat.skips_by_own_gradients(optimizer)

    def forward_and_backward(
        batch: TrainingBatch,
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
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
            # The optimiser sums gradients over the replicas, which have equal numbers
            # of samples: the mean of their means is the mean over the global batch.
            loss = tf.add_n(list(losses.values())) / num_replicas
            loss = compat.scale_loss(optimizer, loss)
        return losses, tape.gradient(loss, weights)

    def apply(gradients: Sequence[tf.Tensor]) -> None:
        compat.apply_gradients(optimizer, gradients, weights)

    def apply_poisoned(gradients: Sequence[tf.Tensor], poison: tf.Tensor) -> None:
        apply([g + tf.cast(poison, g.dtype) for g in gradients])

    @tf.function(jit_compile=False)  # XLA fails with SyncBN (keras#17187, #20763)
    def train_step(batch):
        losses, gradients = strategy.run(forward_and_backward, args=(batch,))
        if share_verdict:
            # Each replica skips a step by its own gradients under Keras' loss scaling.
            # If one alone overflowed, its gradients would still reach the weights of
            # all. So all gradients are made non-finite when any is.
            finite = strategy.reduce("MEAN", strategy.run(_finite, (gradients,)), None)
            poison = tf.where(finite < 1.0, float("nan"), 0.0)
            strategy.run(apply_poisoned, args=(gradients, poison))
        else:
            strategy.run(apply, args=(gradients,))
        return {
            name: strategy.reduce("MEAN", value, axis=None)
            for name, value in losses.items()
        }

    return train_step


def _finite(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns 1.0 when every value is finite, else 0.0."""
    verdicts = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    return tf.cast(tf.reduce_all(verdicts), tf.float32)

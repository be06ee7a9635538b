"""One optimiser step under a strategy."""

from collections.abc import Callable, Sequence
from functools import partial

import keras
import tensorflow as tf

from gcnet_tf.data.photometric import distort_batch
from gcnet_tf.models import Segmentor
from gcnet_tf.training.losses import cross_entropy


def make_train_step(
    model: Segmentor,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    auxiliary_weight: float,
    class_weights: Sequence[float] | None = None,
) -> Callable[[dict], dict[str, tf.Tensor]]:
    """Returns a function from a distributed batch to the losses of the step.

    The losses are means over the global batch, `decode_loss` and the weighted
    `auxiliary_loss`; the step minimises their sum. `class_weights` hold for both.
    """
    num_replicas = strategy.num_replicas_in_sync
    weights = model.trainable_weights
    share_verdict = num_replicas > 1 and hasattr(optimizer, "dynamic_scale")

    def forward_and_backward(batch):
        images = batch["image"]
        if "distortion" in batch:  # augment.photometric_on_device
            images = distort_batch(images, batch["distortion"], batch["valid_size"])
        with tf.GradientTape() as tape:
            outputs = model(
                images,
                valid_size=batch["valid_size"],
                dropout_seeds=batch["seed"],
                training=True,
            )
            loss_of = partial(
                cross_entropy, labels=batch["label"], class_weights=class_weights
            )
            losses = {"decode_loss": loss_of(outputs["logits"])}
            if "aux_logits" in outputs:
                auxiliary_loss = auxiliary_weight * loss_of(outputs["aux_logits"])
                losses["auxiliary_loss"] = auxiliary_loss
            # The optimiser sums gradients over the replicas, which hold equally many
            # samples: the mean of their means is the mean over the global batch.
            loss = optimizer.scale_loss(tf.add_n(list(losses.values())) / num_replicas)
        return losses, tape.gradient(loss, weights)

    def apply(gradients, poison):
        optimizer.apply([g + tf.cast(poison, g.dtype) for g in gradients], weights)

    @tf.function(jit_compile=False)  # XLA fails with SyncBN (keras#17187, #20763)
    def train_step(batch):
        losses, gradients = strategy.run(forward_and_backward, args=(batch,))
        if share_verdict:
            # Keras' loss scaling skips a step by the gradients of one replica; those
            # of another that overflowed alone would reach everybody's weights. So make
            # all of them non-finite when any is.
            finite = strategy.reduce("MEAN", strategy.run(_finite, (gradients,)), None)
            poison = tf.where(finite < 1.0, float("nan"), 0.0)
            strategy.run(apply, args=(gradients, poison))
        else:
            strategy.run(lambda each: optimizer.apply(each, weights), (gradients,))
        return {
            name: strategy.reduce("MEAN", value, axis=None)
            for name, value in losses.items()
        }

    return train_step


def _finite(gradients):
    """1.0 when every value is finite, else 0.0."""
    verdicts = [tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients]
    return tf.cast(tf.reduce_all(verdicts), tf.float32)

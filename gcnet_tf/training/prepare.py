"""All that must be right, and be there, before a training begins."""

from collections.abc import Sequence
from contextlib import ExitStack

import keras

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.check.conversion import checked_records
from gcnet_tf.data.prepare import keeping_records
from gcnet_tf.errors import require_utf8
from gcnet_tf.extensions.named import check_names
from gcnet_tf.files.lock import locked
from gcnet_tf.training.keras_objects import check_callbacks
from gcnet_tf.training.monitor.place import Place
from gcnet_tf.training.monitor.run_folder import check_run
from gcnet_tf.training.optimization.class_weights import (
    check_class_weights,
    class_weights,
)
from gcnet_tf.training.optimization.losses import make_loss
from gcnet_tf.weights.files import require_hdf5


def prepare_run(
    config: Config,
    place: Place,
    resume: bool,
    lock: ExitStack,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[float, ...] | None:
    """Locks the run folder, checks everything, and makes missing records.

    Args:
        config: the configuration.
        place: the place of the run.
        resume: whether the run goes on; then it keeps the records that it has.
        lock: holds the lock until it is closed.
        callbacks: those that the configuration does not name.

    Returns:
        The class weights; None where all classes count alike.

    Raises:
        UserError: when training is impossible with these settings or data.
    """
    run = place.folder
    require_utf8(run, "--out")
    lock.enter_context(locked(run))
    place.open(resume)
    require_hdf5(run)
    check_names(config)
    check_run(run, config, resume)
    check_class_weights(config)
    # Weights of any value show whether the loss can be weighted.
    num_classes = len(facts_of(config.data).classes)
    make_loss(config, config.train.class_weights and (1.0,) * num_classes)
    check_callbacks(config, callbacks)
    if resume:
        config = keeping_records(config)
    # Before the run folder exists, so that missing data leaves no folder behind.
    manifests = checked_records(config)
    return class_weights(config, manifests["train"])

"""The training loop: iterations under `tf.distribute`, resumable at every one."""

import gc
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.check import check_before_conversion
from gcnet_tf.data.pipeline import training_dataset
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.errors import UserError
from gcnet_tf.evaluate import evaluate
from gcnet_tf.metrics import Scores
from gcnet_tf.models import build_model
from gcnet_tf.predictor import predictor_from_model
from gcnet_tf.training import checkpoints
from gcnet_tf.training.class_weights import check_class_weights, class_weights
from gcnet_tf.training.initial import initialise
from gcnet_tf.training.monitor import Monitor
from gcnet_tf.training.optim import CoupledSGD, PolynomialDecay
from gcnet_tf.training.run_folder import check_run, open_run
from gcnet_tf.training.step import make_train_step
from gcnet_tf.training.strategy import make_strategy
from gcnet_tf.weights import newest_checkpoint


class Interrupted(Exception):
    """Training was asked to stop (Ctrl-C or SIGTERM); a checkpoint was saved."""


def train(
    config: Config,
    out: str | Path,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Trains the model that `config` describes and returns the run folder.

    Records that are missing are made first, from sources that are checked before.

    Args:
        config: the configuration.
        out: the run folder; must be new or empty unless `resume`.
        resume: go on from the newest checkpoint in `out`, at its exact iteration.
        callbacks: Keras callbacks. A batch is an iteration and an epoch ends at each
            evaluation, with logs such as `{"loss": …, "val_mIoU": …}`; setting
            `model.stop_training` ends the training.

    Raises:
        UserError: for settings or data that cannot be trained with, a loss that is not
            finite, or too little memory.
        Interrupted: after Ctrl-C or SIGTERM, with a checkpoint saved.
    """
    run = Path(out)
    check_run(run, config, resume)
    strategy = make_strategy(config.train.strategy, config.train.logical_cpus)
    num_replicas = strategy.num_replicas_in_sync
    if config.train.batch_size % num_replicas:
        raise UserError(
            f"train.batch_size is {config.train.batch_size}, the number of images over "
            f"all {num_replicas} replicas together; it must be a multiple of "
            f"{num_replicas}."
        )
    check_class_weights(config)
    # Before the run folder exists: data that is missing should leave no trace.
    check_before_conversion(config)
    manifests = ensure_records(config)
    weights = class_weights(config, manifests["train"])
    training = _Training(config, run, strategy, weights)
    try:
        training.loop(callbacks)
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            "Out of memory. Lower train.batch_size or augment.crop_size, or set "
            "train.precision=mixed_bfloat16."
        ) from error
    finally:
        training.monitor.close()
    return run


class _Training:
    """A run in progress: the model, its optimiser, and where it stands."""

    def __init__(
        self, config: Config, run: Path, strategy, weights: tuple[float, ...] | None
    ):
        self.config = config
        self.run = run
        self.strategy = strategy
        self.facts = facts_of(config.data)
        keras.utils.set_random_seed(config.train.seed)
        with strategy.scope():
            self.model = build_model(config)
            self.schedule, self.optimizer = _make_optimizer(config)
            self.optimizer.build(self.model.trainable_weights)
        self.state: dict[str, Any] = {
            "iteration": 0,
            "best_miou": -1.0,
            "evaluations_since_best": 0,
        }
        with strategy.scope():
            origin = self._load()
        open_run(run, config)
        self.iteration: int = self.state["iteration"]
        self.monitor = Monitor(
            run, config.train.iterations, self.iteration, config.train.batch_size
        )
        self.monitor.say(origin)
        if weights is not None:
            pairs = zip(self.facts.classes, weights)
            texts = ", ".join(f"{name.strip()} {weight:.3g}" for name, weight in pairs)
            self.monitor.say(f"Class weights: {texts}.")
        self.train_step = make_train_step(
            self.model, self.optimizer, strategy, config.train.auxiliary_weight, weights
        )

    def _load(self) -> str:
        """Loads the newest checkpoint of the run, or what a new run starts from."""
        checkpoint = newest_checkpoint(self.run)
        if checkpoint is None:
            return initialise(self.model, self.config)
        # On top, because states of older versions lack an entry.
        self.state |= checkpoints.restore_checkpoint(
            checkpoint, self.model, self.optimizer
        )
        return f"Loaded {checkpoint}."

    def loop(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        settings = self.config.train
        self._announce()
        self.model.stop_training = False
        callback_list = keras.callbacks.CallbackList(list(callbacks), model=self.model)
        callback_list.on_train_begin()
        callback_list.on_epoch_begin(self.iteration // settings.evaluate_every)
        with _stop_signals() as stop_requested:
            for batch, waited in self._batches():
                callback_list.on_train_batch_begin(self.iteration)
                losses = self._step(batch, waited)
                callback_list.on_train_batch_end(self.iteration - 1, losses)
                last = self.iteration == settings.iterations
                if last or self.iteration % settings.log_every == 0:
                    self.monitor.report(self.iteration)
                if last or self.iteration % settings.evaluate_every == 0:
                    scores = self._evaluate()
                    epoch = (self.iteration - 1) // settings.evaluate_every
                    callback_list.on_epoch_end(
                        epoch, {**losses, "val_mIoU": scores.miou}
                    )
                    if not last:
                        callback_list.on_epoch_begin(epoch + 1)
                stopping = (
                    bool(stop_requested)
                    or self.model.stop_training
                    or self._has_stalled()
                )
                if last or stopping or self.iteration % settings.checkpoint_every == 0:
                    self._save()
                if stop_requested:
                    raise Interrupted(f"at iteration {self.iteration}")
                if self.model.stop_training:
                    self.monitor.say(f"Stopped by a callback at {self.iteration}.")
                if stopping:
                    break
        if self._has_stalled() and self.iteration < settings.iterations:
            self._say_stalled()
        callback_list.on_train_end()

    def _announce(self) -> None:
        settings = self.config.train
        verb = "Resuming" if self.iteration else "Training"
        self.monitor.say(
            f"{verb} {self.run} at iteration {self.iteration} of "
            f"{settings.iterations}: {self.model.count_params():,} parameters, "
            f"{self.facts.num_classes} classes, batch {settings.batch_size} on "
            f"{self.strategy.num_replicas_in_sync} replica(s), {settings.precision}"
        )

    def _batches(self) -> Iterator[tuple[dict, float]]:
        """Yields the remaining batches with the seconds spent waiting for each."""
        if self.iteration >= self.config.train.iterations or self._has_stalled():
            return
        # Names are text, which no GPU holds; `_step` finds them when they are needed.
        dataset = training_dataset(self.config, self.iteration).map(_without_name)
        iterator = iter(self.strategy.experimental_distribute_dataset(dataset))
        while self.iteration < self.config.train.iterations:
            start = time.perf_counter()
            batch = next(iterator)
            yield batch, time.perf_counter() - start

    def _step(self, batch: dict, waited: float) -> dict[str, float]:
        start = time.perf_counter()
        losses = {name: float(value) for name, value in self.train_step(batch).items()}
        worked = time.perf_counter() - start
        if not all(math.isfinite(value) for value in losses.values()):
            raise self._not_finite(losses)
        self.iteration += 1
        self.monitor.step(losses, self._learning_rate(), waited, worked)
        return {"loss": sum(losses.values()), **losses}

    def _not_finite(self, losses: dict[str, float]) -> UserError:
        # The stream is a pure function of the iteration: ask it again, for the names.
        batch = next(iter(training_dataset(self.config, self.iteration)))
        names = ", ".join(name.decode() for name in batch["name"].numpy())
        values = ", ".join(f"{name} {value}" for name, value in losses.items())
        return UserError(
            f"The loss is not finite at iteration {self.iteration}: {values}; samples: "
            f"{names}. Look at these samples, or lower train.learning_rate "
            f"(now {float(self.schedule(self.iteration)):.3e}) and start again with "
            "another --out."
        )

    def _learning_rate(self) -> float:
        """The rate of the latest step."""
        return float(self.schedule(max(self.iteration - 1, 0)))

    def _evaluate(self) -> Scores:
        def show(index: int, image: np.ndarray, truth: np.ndarray, found: np.ndarray):
            if index < self.config.train.panels:
                self.monitor.show_panel(
                    self.iteration, index, image, truth, found, self.facts.palette
                )

        predictor = predictor_from_model(self.model, self.config)
        scores = evaluate(predictor, "val", on_sample=show)
        # Frozen functions sit in reference cycles. Left to Python's own collector,
        # those of three evaluations, 3.5 GB for half an R50, pile up before one goes.
        del predictor
        gc.collect()
        self.monitor.report_scores(self.iteration, scores, self.facts.classes)
        self.state["evaluations_since_best"] += 1
        if scores.miou > self.state["best_miou"]:
            self.state["best_miou"] = scores.miou
            self.state["evaluations_since_best"] = 0
            checkpoints.save_best(
                self.run,
                self.model,
                {"iteration": self.iteration, **scores.to_dict(self.facts.classes)},
            )
        return scores

    def _has_stalled(self) -> bool:
        """Whether early stopping ends the run; only an evaluation changes that."""
        patience = self.config.train.early_stopping
        return patience is not None and (
            self.state["evaluations_since_best"] >= patience
        )

    def _say_stalled(self) -> None:
        number = self.state["evaluations_since_best"]
        self.monitor.say(
            f"Stopped early at iteration {self.iteration}: no better mIoU in "
            f"{number} evaluation{'' if number == 1 else 's'}. To go on all the same: "
            "--resume --set train.early_stopping=null"
        )

    def _save(self) -> None:
        self.state["iteration"] = self.iteration
        checkpoints.save_checkpoint(
            self.run,
            self.model,
            self.optimizer,
            self.state,
            keep=self.config.train.keep_checkpoints,
        )


def _without_name(batch: dict) -> dict:
    return {key: value for key, value in batch.items() if key != "name"}


def _make_optimizer(config: Config):
    settings = config.train

    def schedule(multiplier=1.0):
        # As in the reference, the minimum is not multiplied.
        return PolynomialDecay(
            multiplier * settings.learning_rate,
            settings.min_learning_rate,
            settings.iterations,
            settings.poly_power,
        )

    rates = {}
    if settings.head_lr_multiplier != 1:
        head = schedule(settings.head_lr_multiplier)
        rates = {"decode_head": head, "auxiliary_head": head}
    base = schedule()
    optimizer: keras.optimizers.Optimizer = CoupledSGD(
        base, settings.momentum, settings.weight_decay, rates
    )
    if settings.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return base, optimizer


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying; a second one acts as usual."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}

    def handle(number, frame):
        received.append(number)
        signal.signal(number, before[number])
        print("\nStopping after this iteration …", flush=True)

    try:
        for number in _STOP_SIGNALS:
            signal.signal(number, handle)
    except ValueError:
        pass  # not in the main thread, as in some notebooks: signals stay as they are
    try:
        yield received
    finally:
        try:
            for number, handler in before.items():
                signal.signal(number, handler)
        except ValueError:
            pass


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

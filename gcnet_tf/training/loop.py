"""The training loop: iterations under `tf.distribute`, resumable at every one."""

import gc
import math
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gcnet_tf import compat
from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.check.inspect import check_before_conversion
from gcnet_tf.data.prepare import ensure_records
from gcnet_tf.data.records.damage import (
    READ_ERRORS,
    Damage,
    DamagedData,
    check_sizes,
    find_damage,
    repaired,
)
from gcnet_tf.data.stream.lanes import Share
from gcnet_tf.data.stream.pipeline import training_dataset
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.evaluation.metrics import Scores
from gcnet_tf.extensions.named import check_names
from gcnet_tf.layers.kernels import lacking
from gcnet_tf.models import build_model
from gcnet_tf.processor import processor, settings_text
from gcnet_tf.training import checkpoints
from gcnet_tf.training.averages import averaged, restart_averages
from gcnet_tf.training.class_weights import check_class_weights, class_weights
from gcnet_tf.training.distributed.strategy import make_strategy
from gcnet_tf.training.distributed.workers import Workers
from gcnet_tf.training.initial import initialise
from gcnet_tf.training.keras_objects import Metrics, colour_layer, named_callbacks
from gcnet_tf.training.losses import make_loss
from gcnet_tf.training.monitor.monitor import Monitor, NoMonitor
from gcnet_tf.training.monitor.run_folder import check_run, open_run
from gcnet_tf.training.optim import make_optimizer
from gcnet_tf.training.step import make_train_step
from gcnet_tf.training.stopping import Interrupted, explaining, stop_signals
from gcnet_tf.weights.files import newest_checkpoint


def train(
    config: Config,
    out: str | Path,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Trains the model that `config` describes and returns the run folder.

    Records that are missing are made first, from sources that are checked before. Of
    several workers, one alone writes and reads in the run folder: the chief.

    Args:
        config: the configuration.
        out: the run folder; must be new or empty unless `resume`.
        resume: go on from the newest checkpoint in `out`, at its exact iteration.
        callbacks: Keras callbacks. A batch is an iteration and an epoch ends at each
            evaluation, with logs such as `{"loss": …, "val_mIoU": …}`; setting
            `model.stop_training` ends the training.

    Raises:
        UserError: for settings or data that cannot be trained with, a loss that is not
            finite, too little memory, or a disk that is full.
        Interrupted: after Ctrl-C or SIGTERM, with a checkpoint saved.
        WorkerLost: when another worker has disappeared.
    """
    run = Path(out)
    strategy = make_strategy(config.train.strategy, config.train.logical_cpus)
    num_replicas = strategy.num_replicas_in_sync
    if config.train.batch_size % num_replicas:
        raise UserError(
            f"train.batch_size is {config.train.batch_size}, the number of images over "
            f"all {num_replicas} replicas together; it must be a multiple of "
            f"{num_replicas}."
        )
    workers = Workers(strategy)
    with workers.noticing_losses(), explaining(run):
        weights = workers.chief_does(lambda: _prepare(config, run, resume))
        training = _Training(config, run, workers, weights)
        try:
            training.loop([*callbacks, *named_callbacks(config)])
        finally:
            training.close()
    return run


def _prepare(config: Config, run: Path, resume: bool) -> tuple[float, ...] | None:
    """Checks everything, makes records that are missing; returns the class weights."""
    check_names(config)
    check_run(run, config, resume)
    check_class_weights(config)
    # Before the run folder exists: data that is missing should leave no trace.
    check_before_conversion(config)
    manifests = ensure_records(config)
    return class_weights(config, manifests["train"])


class _Training:
    """A run in progress: the model, its optimiser, and where it stands."""

    def __init__(
        self,
        config: Config,
        run: Path,
        workers: Workers,
        weights: Sequence[float] | None,
    ):
        self.config = config
        self.run = run
        self.workers = workers
        self.strategy = strategy = workers.strategy
        self.facts = facts_of(config.data)
        keras.utils.set_random_seed(config.train.seed)
        with strategy.scope():
            self.model = build_model(config)
            self.schedule, self.optimizer = make_optimizer(config)
            compat.build_optimizer(self.optimizer, self.model)
        self.state: dict[str, Any] = {
            "iteration": 0,
            "best_miou": -1.0,
            "evaluations_since_best": 0,
            "evaluation_due": False,
            "unreported": None,
        }
        with strategy.scope():
            origin, self.state = workers.chief_does(self._load)
            variables = compat.optimizer_variables(self.optimizer)
            workers.take_from_chief([*self.model.variables, *variables])
        self.iteration: int = self.state["iteration"]
        self.monitor: Monitor | NoMonitor = NoMonitor()
        if workers.chief:
            self.monitor = Monitor(
                run,
                config.train.iterations,
                self.iteration,
                config.train.batch_size,
                config.train.evaluate_every,
                self.state["unreported"],
            )
        # The same with records that were repaired, once any were found damaged.
        self.data_config = config
        self.repaired = ExitStack()
        self.damaged: list[Damage] = []
        self.monitor.say(origin)
        if weights is not None:
            pairs = zip(self.facts.classes, weights)
            texts = ", ".join(f"{name.strip()} {weight:.3g}" for name, weight in pairs)
            self.monitor.say(f"Class weights: {texts}.")
        self.metrics = Metrics(config)
        self.train_step = make_train_step(
            self.model,
            self.optimizer,
            strategy,
            config.train.auxiliary_weight,
            make_loss(config, weights),
            colour_layer(config),
        )

    def _load(self) -> tuple[str, dict[str, Any]]:
        """Loads the newest checkpoint of the run, or what a new run starts from.

        Returns:
            A sentence on what was loaded, and the state.
        """
        checkpoint = newest_checkpoint(self.run)
        if checkpoint is None:
            origin = initialise(self.model, self.config)
            restart_averages(self.optimizer, self.model)
        else:
            origin = f"Loaded {checkpoint}."
            # On top, because states of older versions lack an entry.
            self.state |= checkpoints.restore_checkpoint(
                checkpoint, self.model, self.optimizer
            )
        open_run(self.run, self.config)
        return origin, self.state

    def close(self) -> None:
        """Ends what the run shows, and removes what it needed meanwhile."""
        with self.repaired:
            self.monitor.close()

    def loop(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        settings = self.config.train
        self._announce()
        self.model.stop_training = False
        callback_list = keras.callbacks.CallbackList(
            list(callbacks),
            model=self.model,
            # As from `fit`, for progress bars.
            epochs=math.ceil(settings.iterations / settings.evaluate_every),
            steps=min(settings.evaluate_every, settings.iterations),
            verbose=1,
        )
        callback_list.on_train_begin()
        callback_list.on_epoch_begin(self.iteration // settings.evaluate_every)
        reason = 0
        with stop_signals() as stop_requested, closing(self._batches()) as batches:
            if self.state["evaluation_due"]:  # a signal has stopped it
                self._evaluate(callback_list, {}, stop_requested)
                self._save()
                reason = self._reason_to_stop(stop_requested)
            for batch, waited in () if reason else batches:
                callback_list.on_train_batch_begin(self.iteration)
                losses = self._step(batch, waited)
                callback_list.on_train_batch_end(self.iteration - 1, losses)
                last = self.iteration == settings.iterations
                if last or self.iteration % settings.log_every == 0:
                    self.monitor.report(self.iteration)
                if last or self.iteration % settings.evaluate_every == 0:
                    self._evaluate(callback_list, losses, stop_requested)
                reason = self._reason_to_stop(stop_requested)
                stopping = reason > 0 or self._has_stalled()
                if last or stopping or self.iteration % settings.checkpoint_every == 0:
                    self._save()
                if stopping:
                    break
        # Nobody leaves while another's input still needs the connection.
        self.workers.largest(0)
        if reason > _CALLBACK:
            raise Interrupted(self.iteration, reason)
        if reason == _CALLBACK:
            self.monitor.say(f"Stopped by a callback at {self.iteration}.")
        if self._has_stalled() and self.iteration < settings.iterations:
            self._say_stalled()
        callback_list.on_train_end()

    def _reason_to_stop(self, stop_requested: list[int]) -> int:
        """0 to go on, else a signal or _CALLBACK: that of any worker holds for all."""
        callback = _CALLBACK if self.model.stop_training else 0
        return self.workers.largest(max(stop_requested[:1], default=callback))

    def _announce(self) -> None:
        settings = self.config.train
        verb = "Resuming" if self.iteration else "Training"
        self.monitor.say(
            f"{verb} {self.run} at iteration {self.iteration} of "
            f"{settings.iterations}: {self.model.count_params():,} parameters, "
            f"{self.facts.num_classes} classes, batch {settings.batch_size} on "
            f"{self.strategy.num_replicas_in_sync} replica(s) of {self.workers.number} "
            f"worker(s), {settings.precision}"
        )
        self.monitor.say(f"On {processor()}: {settings_text()}")
        if lack := lacking(tf.as_dtype(self.model.compute_dtype)):
            self.monitor.say(lack)

    def _batches(self) -> Generator[tuple[dict, float], None, None]:
        """Yields the remaining batches with the seconds spent waiting for each."""
        if self.iteration >= self.config.train.iterations or self._has_stalled():
            return
        iterator = None
        while self.iteration < self.config.train.iterations:
            start = time.perf_counter()
            try:
                iterator = iterator or self._iterator()
                batch = next(iterator)
            except READ_ERRORS as error:
                self._repair(error)
                iterator = None
                continue
            yield batch, time.perf_counter() - start

    def _iterator(self) -> Iterator[dict]:
        check_sizes(self.data_config, "train")

        def part_of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            number = context.num_input_pipelines
            dataset = training_dataset(
                self.data_config,
                self.iteration,
                Share(context.input_pipeline_id, number),
                context.num_replicas_in_sync // number,
            )
            # Names are text, which no GPU holds; `_not_finite` finds them when needed.
            return dataset.map(_without_name)

        return iter(self.strategy.distribute_datasets_from_function(part_of_worker))

    def _repair(self, error: Exception) -> None:
        """Goes on without the damaged samples, or stops, as data.on_error says."""
        damaged = find_damage(self.config, "train")
        if damaged == self.damaged:
            raise error  # not the records' fault, then
        self.damaged = damaged
        self.monitor.report_damage(self.iteration, "train", damaged)
        if self.config.data.on_error == "stop":
            self._save()
            raise DamagedData(damaged)
        # Until the end of the run: input that is under way still reads the one before.
        folder = Path(self.repaired.enter_context(tempfile.TemporaryDirectory()))
        self.data_config = repaired(self.config, "train", damaged, folder)

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
        batch = next(iter(training_dataset(self.data_config, self.iteration)))
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

    def _evaluate(
        self,
        callback_list: keras.callbacks.CallbackList,
        losses: dict[str, float],
        stop_requested: list[int],
    ) -> None:
        """Scores the model; where a signal stops it, a resumed run begins with it."""
        self.state["evaluation_due"] = True
        start = time.perf_counter()
        with averaged(self.optimizer, self.model):
            scores = self._scores(stop_requested)
            if scores is None:
                return
            self.state["evaluation_due"] = False
            self._keep_scores(scores)
        self.monitor.evaluated(time.perf_counter() - start)
        results = self.metrics.results()
        self.monitor.report_metrics(self.iteration, results)
        logs = {f"val_{name}": value for name, value in results.items()}
        epoch = (self.iteration - 1) // self.config.train.evaluate_every
        callback_list.on_epoch_end(epoch, {**losses, **logs, "val_mIoU": scores.miou})
        if self.iteration < self.config.train.iterations:
            callback_list.on_epoch_begin(epoch + 1)

    def _scores(self, stop_requested: list[int]) -> Scores | None:
        """The scores and metrics of the weights of now; None where a signal came."""

        def show(index: int, image: np.ndarray, truth: np.ndarray, found: np.ndarray):
            self.metrics.update(truth, found)
            if index < self.config.train.panels:
                self.monitor.show_panel(
                    self.iteration, index, image, truth, found, self.facts.palette
                )

        def begin_again(damaged: list[Damage]):
            self.metrics.reset()
            self.monitor.report_damage(self.iteration, "val", damaged)

        self.metrics.reset()
        predictor = predictor_from_model(self.model, self.config)
        scores = evaluate(
            predictor,
            "val",
            on_sample=show,
            on_damage=begin_again,
            should_stop=lambda: bool(stop_requested),
            share=self.workers.share,
            add_up=self.workers.sum,
        )
        # Frozen functions sit in reference cycles. Left to Python's own collector,
        # those of three evaluations, 3.5 GB for half an R50, pile up before one goes.
        del predictor
        gc.collect()
        return scores

    def _keep_scores(self, scores: Scores) -> None:
        self.monitor.report_scores(self.iteration, scores, self.facts.classes)
        self.state["evaluations_since_best"] += 1
        if scores.miou > self.state["best_miou"]:
            self.state["best_miou"] = scores.miou
            self.state["evaluations_since_best"] = 0
            if self.workers.chief:
                checkpoints.save_best(
                    self.run,
                    self.model,
                    {"iteration": self.iteration, **scores.to_dict(self.facts.classes)},
                )

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
        if not self.workers.chief:
            return
        self.state["iteration"] = self.iteration
        self.state["unreported"] = self.monitor.unreported()
        checkpoints.save_checkpoint(
            self.run,
            self.model,
            self.optimizer,
            self.state,
            keep=self.config.train.keep_checkpoints,
        )


# A reason to stop beside the numbers of signals; no signal that we take is 1.
_CALLBACK = 1


def _without_name(batch: dict) -> dict:
    return {key: value for key, value in batch.items() if key != "name"}

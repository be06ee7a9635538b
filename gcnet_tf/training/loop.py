"""The training loop: iterations under `tf.distribute`, each of which can be resumed."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import keras

from gcnet_tf import compat
from gcnet_tf.config import Config
from gcnet_tf.data.prepare import record_digests
from gcnet_tf.data.records.damage import Damage
from gcnet_tf.data.records.pinned import pinned
from gcnet_tf.data.records.repair import Repair
from gcnet_tf.data.stream.pipeline import TrainingBatch
from gcnet_tf.errors import UserError
from gcnet_tf.models import build_model
from gcnet_tf.training import checkpoints
from gcnet_tf.training.batches import Batches
from gcnet_tf.training.distributed.strategy import strategy_of
from gcnet_tf.training.distributed.workers import Workers
from gcnet_tf.training.extension import extension_text, finished_text
from gcnet_tf.training.initial import initialise
from gcnet_tf.training.keras_objects import (
    colour_layer,
    named_callbacks,
    sees_iterations,
)
from gcnet_tf.training.monitor.monitor import Monitor, NoMonitor
from gcnet_tf.training.monitor.opening import announcement, opening_texts
from gcnet_tf.training.monitor.place import Place
from gcnet_tf.training.monitor.run_folder import check_same_records, open_run
from gcnet_tf.training.monitor.unread import Unread
from gcnet_tf.training.optimization.averages import restart_averages
from gcnet_tf.training.optimization.losses import make_loss
from gcnet_tf.training.optimization.optimizers import make_optimizer
from gcnet_tf.training.prepare import prepare_run
from gcnet_tf.training.state import Progress
from gcnet_tf.training.step import make_train_step
from gcnet_tf.training.stopping import (
    Interrupted,
    StopReason,
    explaining,
    not_finite,
    stalled_text,
    stop_signals,
)
from gcnet_tf.training.validation import Validation
from gcnet_tf.weights.files import newest_checkpoint


def train(
    config: Config,
    out: str | Path,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Path:
    """Trains the model that `config` describes and returns the run folder.

    Missing records are made first, after a check of their sources. Of several workers,
    only the chief reads and writes in the run folder.

    Args:
        config: the configuration.
        out: the run folder, or its address; new or empty unless `resume` is True.
        resume: whether to continue from the newest checkpoint in `out`, at its exact
            iteration.
        callbacks: Keras callbacks. A batch is an iteration and an epoch ends at each
            evaluation, with logs such as `{"loss": …, "val_mIoU": …}`; setting
            `model.stop_training` ends the training. With one that is called after each
            batch, every iteration waits for its losses.

    Raises:
        UserError: when training is impossible with these settings or data, another
            process trains in the folder, the loss is not finite, the memory is too
            small, or the disk is full.
        Interrupted: after Ctrl-C or SIGTERM, when a checkpoint is saved.
        WorkerLost: when another worker has disappeared, or has not come in time.
    """
    place = Place(out)
    strategy = strategy_of(config.train)
    workers = Workers(strategy)
    with workers.noticing_losses(), explaining(place), ExitStack() as lock:
        weights = workers.chief_does(
            lambda: prepare_run(config, place, resume, lock, callbacks)
        )
        reading = lock.enter_context(pinned(config))
        training = _Training(config, reading, place, workers, weights)
        try:
            training.loop([*callbacks, *named_callbacks(config)])
        finally:
            training.close()
    return place.folder


class _Training:
    """A run in progress: the model, its optimiser, and the progress so far."""

    def __init__(
        self,
        config: Config,
        reading: Config,
        place: Place,
        workers: Workers,
        weights: Sequence[float] | None,
    ):
        """Starts or resumes a run; `reading` is `config` with the records to read."""
        self.config = config
        self.place = place
        self.run = run = place.folder
        self.workers = workers
        self.strategy = strategy = workers.strategy
        keras.utils.set_random_seed(config.train.seed)
        with strategy.scope():
            self.model = build_model(config)
            self.schedule, self.optimizer = make_optimizer(config)
            compat.build_optimizer(self.optimizer, self.model)
            origin, progress = workers.chief_does(lambda: self._load(reading))
            variables = compat.optimizer_variables(self.optimizer)
            workers.take_from_chief([*self.model.variables, *variables])
        self.progress = Progress.from_dict(progress)
        self.monitor: Monitor | NoMonitor = NoMonitor()
        if workers.chief:
            self.monitor = Monitor(
                run,
                config.train.iterations,
                self.progress.iteration,
                config.train.batch_size,
                config.train.evaluate_every,
                self.progress.unreported,
                self.progress.evaluation_due,
            )
        self.whole = True  # weights and progress belong together and can be saved
        self.unread = Unread()
        self.repair = Repair(reading, "train", self._report_damage, workers.gather)
        self.batches = Batches(strategy, self.progress, self.repair)
        for text in opening_texts(reading, workers, origin, weights):
            self.monitor.say(place.named(text))
        for text in announcement(config, place, self.progress, self.model, workers):
            self.monitor.say(text)
        self.validation = Validation(
            reading,
            run,
            self.model,
            self.optimizer,
            workers,
            self.monitor,
            self.progress,
        )
        self.train_step = make_train_step(
            self.model,
            self.optimizer,
            strategy,
            config.train.auxiliary_weight,
            make_loss(config, weights),
            colour_layer(config),
            config.train.accumulate,
            config.train.jit_compile,
        )

    def _load(self, reading: Config) -> tuple[str, dict[str, Any]]:
        """Loads the newest checkpoint of the run, or the initial weights of a new run.

        Returns:
            A sentence that tells what was loaded, and the progress as in JSON.
        """
        records = record_digests(reading)
        checkpoint = newest_checkpoint(self.run)
        if checkpoint is None:
            origin, progress = initialise(self.model, self.config), {}
            restart_averages(self.optimizer, self.model)
        else:
            progress = checkpoints.restore_checkpoint(
                checkpoint, self.model, self.optimizer
            )
            longer = extension_text(self.run, self.config, progress["iteration"])
            origin = f"Loaded {checkpoint}.{longer}"
            if self.config.data.on_changed_source != "ignore":
                check_same_records(self.run, progress.get("records"), records)
        open_run(self.run, self.config)
        return origin, {**progress, "records": records}

    def close(self) -> None:
        """Closes the monitor, and removes the temporary files of `Repair`."""
        with self.repair:
            self.monitor.close()

    def loop(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Trains until the last iteration, or until there is a reason to stop."""
        settings, progress = self.config.train, self.progress
        is_watched = any(map(sees_iterations, callbacks))
        if progress.iteration >= settings.iterations and not progress.evaluation_due:
            self.monitor.say(finished_text(self.place, settings.iterations))
        self.model.stop_training = False
        compat.lend_optimizer(self.model, self.optimizer)
        callback_list = keras.callbacks.CallbackList(
            list(callbacks),
            model=self.model,
            # The same parameters as from `fit`, for progress bars.
            epochs=math.ceil(settings.iterations / settings.evaluate_every),
            steps=min(settings.evaluate_every, settings.iterations),
            verbose=1,
            # For callbacks that look into the run folder; only the chief may.
            run=str(self.run) if self.workers.chief else None,
        )
        callback_list.on_train_begin()
        begun = progress.iteration - progress.evaluation_due
        callback_list.on_epoch_begin(begun // settings.evaluate_every)
        reason = StopReason.NONE
        with (
            stop_signals() as signals,
            closing(self.batches.remaining()) as batches,
            self._saving_before_errors(),
        ):
            if progress.evaluation_due:  # the last one did not end
                self._evaluate(callback_list, {}, signals)
                self._save()
                reason = self._reason_to_stop(signals)
            for batch, waited in () if reason or self._has_stalled() else batches:
                callback_list.on_train_batch_begin(progress.iteration)
                self._step(batch, waited)
                if is_watched:
                    losses = self._read_losses()
                    callback_list.on_train_batch_end(progress.iteration - 1, losses)
                last = progress.iteration == settings.iterations
                if last or progress.iteration % settings.log_every == 0:
                    self._read_losses()
                    self.monitor.report(progress.iteration)
                evaluating = progress.iteration % settings.evaluate_every == 0
                if last or evaluating:
                    self._evaluate(callback_list, self._read_losses(), signals)
                reason = self._reason_to_stop(signals)
                stopping = bool(reason) or self._has_stalled()
                checkpoint_due = progress.iteration % settings.checkpoint_every == 0
                if last or evaluating or stopping or checkpoint_due:
                    self._save()
                if stopping:
                    break
        # A barrier: no worker leaves while the input of another needs the connection.
        self.workers.largest(0)
        if reason is StopReason.CALLBACK:
            self.monitor.say(f"Stopped by a callback at {progress.iteration}.")
        if self._has_stalled() and progress.iteration < settings.iterations:
            self.monitor.say(stalled_text(progress))
        callback_list.on_train_end()
        self.workers.chief_does(self.place.commit)  # the last lines of the log
        if reason.is_signal:
            raise Interrupted(progress.iteration, reason)

    def _reason_to_stop(self, signals: list[StopReason]) -> StopReason:
        """Returns the reason to stop of any worker, which all workers follow."""
        callback = StopReason.CALLBACK if self.model.stop_training else StopReason.NONE
        return StopReason(self.workers.largest(max(signals[:1], default=callback)))

    def _report_damage(self, damaged: list[Damage]) -> None:
        self._read_losses()  # while the samples of the last iterations can be named
        self.monitor.report_damage(self.progress.iteration, "train", damaged)

    def _step(self, batch: TrainingBatch, waited: float) -> None:
        """Makes a step, without waiting for the device that computes it."""
        start = time.perf_counter()
        self.whole = False
        num_steps = compat.num_steps(self.optimizer)
        losses = self.train_step(batch)
        self.progress.iteration += 1
        self.unread.add(losses, num_steps, waited, time.perf_counter() - start)
        self.whole = True
        self.monitor.advance()

    def _read_losses(self) -> dict[str, float]:
        """Waits for the losses of all iterations so far, and returns the last ones.

        Raises:
            UserError: when one of them is not finite.
        """
        first = self.progress.iteration - len(self.unread)
        self.whole = False
        steps = self.unread.read()
        # Steps that a loss scale skips leave the rate behind the iterations.
        rate = float(self.schedule(self.unread.num_steps))
        for iteration, step in enumerate(steps, start=first):
            if not step.is_finite:
                raise self._not_finite(f"The loss ({step}) is", iteration)
            self.monitor.step(step.losses, rate, step.waited, step.worked)
        self.whole = True
        return self.unread.last

    def _not_finite(self, what: str, iteration: int) -> UserError:
        names = ", ".join(self.batches.sample_names(iteration))
        return not_finite(what, iteration, names, float(self.schedule(iteration)))

    def _evaluate(
        self,
        callback_list: keras.callbacks.CallbackList,
        losses: dict[str, float],
        signals: list[StopReason],
    ) -> None:
        """Evaluates the model, after saving that the evaluation is due.

        Whatever ends it, a resumed run begins with it. The caller saves again, which
        writes only the progress.
        """
        progress = self.progress
        progress.evaluation_due = True
        self._save()
        logs = self.validation.run(signals)
        if logs is None:
            return
        epoch = (progress.iteration - 1) // self.config.train.evaluate_every
        callback_list.on_epoch_end(epoch, {**losses, **logs})
        if progress.iteration < self.config.train.iterations:
            callback_list.on_epoch_begin(epoch + 1)

    def _has_stalled(self) -> bool:
        return self.progress.has_stalled(self.config.train.early_stopping)

    @contextmanager
    def _saving_before_errors(self) -> Iterator[None]:
        """Saves before an error ends the run, unless a step or saving caused it."""
        try:
            yield
        except Exception:
            if self.whole:
                self._save()
            raise

    def _save(self) -> None:
        self._read_losses()
        self.whole = False
        # On all workers, which have the same values, so that all of them stop.
        values = checkpoints.read_values(self.model, self.optimizer)
        if name := checkpoints.not_finite(values):
            what = f"The loss was finite, but the gradient ({name}) was"
            raise self._not_finite(what, self.progress.iteration - 1)
        if self.workers.chief:
            self.progress.unreported = self.monitor.unreported()
            checkpoints.save_checkpoint(
                self.run,
                self.model,
                values,
                self.progress.to_dict(),
                keep=self.config.train.keep_checkpoints,
            )
            self.place.commit()
        self.whole = True

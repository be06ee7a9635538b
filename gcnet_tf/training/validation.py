"""Evaluations of a model on the split val during its training."""

import gc
import time
from pathlib import Path

import keras
import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.records.damage import Damage
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.evaluation.metrics import Metrics
from gcnet_tf.training.checkpoints import save_best
from gcnet_tf.training.distributed.workers import Workers
from gcnet_tf.training.keras_objects import NamedMetrics
from gcnet_tf.training.monitor.monitor import Monitor, NoMonitor
from gcnet_tf.training.optimization.averages import averaged
from gcnet_tf.training.state import Progress
from gcnet_tf.training.stopping import StopReason

SPLIT = "val"


class Validation:
    """The evaluations of one training.

    They use the averages of the weights, where the optimiser keeps some.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        workers: Workers,
        monitor: Monitor | NoMonitor,
        progress: Progress,
    ):
        self._named = NamedMetrics(config)
        self._config = config
        self._run = run
        self._facts = facts_of(config.data)
        self._model = model
        self._optimizer = optimizer
        self._workers = workers
        self._monitor = monitor
        self._progress = progress
        self._fold_is_checked = False

    def run(self, signals: list[StopReason]) -> dict[str, float] | None:
        """Evaluates the model, reports the metrics, and keeps the best weights.

        Args:
            signals: the evaluation stops as soon as this list has an item.

        Returns:
            The metrics over all workers by the names that callbacks get, as in
            "val_mIoU"; None when a signal stopped any worker.
        """
        progress = self._progress
        start = time.perf_counter()
        with averaged(self._optimizer, self._model):
            metrics = self._metrics(signals)
            if metrics is None:
                return None
            results = self._named.results()
            progress.evaluation_due = False
            self._record(metrics)
        self._monitor.evaluated(time.perf_counter() - start)
        self._monitor.report_named_metrics(progress.iteration, results)
        logs = {f"val_{name}": value for name, value in results.items()}
        return {**logs, "val_mIoU": metrics.miou}

    def _record(self, metrics: Metrics) -> None:
        iteration, classes = self._progress.iteration, self._facts.classes
        self._monitor.report_metrics(iteration, metrics, classes)
        if self._progress.add_evaluation(metrics.miou) and self._workers.chief:
            best_metrics = {"iteration": iteration, **metrics.to_dict(classes)}
            save_best(self._run, self._model, best_metrics)

    def _metrics(self, signals: list[StopReason]) -> Metrics | None:
        iteration = self._progress.iteration

        def show(
            index: int, image: np.ndarray, truth: np.ndarray, labels: np.ndarray
        ) -> None:
            self._named.update(truth, labels)
            if index < self._config.train.panels:
                self._monitor.show_panel(
                    iteration, index, image, truth, labels, self._facts.palette
                )

        def begin_again(damaged: list[Damage]) -> None:
            self._named.reset()
            self._monitor.report_damage(iteration, SPLIT, damaged)

        self._named.reset()
        predictor = predictor_from_model(
            self._model,
            self._config,
            fold_is_checked=self._fold_is_checked,
            devices=self._workers.devices,
        )
        self._fold_is_checked = True
        metrics = evaluate(
            predictor,
            self._config,
            SPLIT,
            on_sample=show,
            group=self._workers,
            on_damage=begin_again,
            should_stop=lambda: bool(signals),
        )
        # Frozen functions are part of reference cycles. Python's own collector lets
        # those of three evaluations accumulate, 3.5 GB for half an R50.
        del predictor
        gc.collect()
        return metrics

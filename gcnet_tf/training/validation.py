"""Evaluations of a model on the split val during its training."""

import gc

import keras
import numpy as np

from gcnet_tf.config import Config
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.data.records.damage import Damage
from gcnet_tf.evaluation.evaluate import evaluate
from gcnet_tf.evaluation.load import predictor_from_model
from gcnet_tf.evaluation.metrics import Metrics
from gcnet_tf.training.distributed.workers import Workers
from gcnet_tf.training.keras_objects import NamedMetrics
from gcnet_tf.training.monitor.monitor import Monitor, NoMonitor
from gcnet_tf.training.stopping import StopReason

SPLIT = "val"


class Validation:
    """The evaluations of one training.

    Attributes:
        named: the metrics of train.metrics over the images of the last evaluation.
    """

    def __init__(
        self,
        config: Config,
        model: keras.Model,
        workers: Workers,
        monitor: Monitor | NoMonitor,
    ):
        self.named = NamedMetrics(config)
        self._config = config
        self._palette = facts_of(config.data).palette
        self._model = model
        self._workers = workers
        self._monitor = monitor

    def run(self, iteration: int, signals: list[StopReason]) -> Metrics | None:
        """Evaluates the current weights.

        Args:
            iteration: the iteration to show in reports.
            signals: the evaluation stops as soon as this list has an item.

        Returns:
            The metrics over all workers; None when a signal stopped any worker.
        """

        def show(
            index: int, image: np.ndarray, truth: np.ndarray, labels: np.ndarray
        ) -> None:
            self.named.update(truth, labels)
            if index < self._config.train.panels:
                self._monitor.show_panel(
                    iteration, index, image, truth, labels, self._palette
                )

        def begin_again(damaged: list[Damage]) -> None:
            self.named.reset()
            self._monitor.report_damage(iteration, SPLIT, damaged)

        self.named.reset()
        predictor = predictor_from_model(self._model, self._config)
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

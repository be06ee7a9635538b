"""Scoring the model of a training on the split val, in between."""

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
    """Evaluations of one training.

    Attributes:
        named: what train.metrics names, over the images of the last evaluation.
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
        """Scores the weights of now.

        Args:
            iteration: for what is shown.
            signals: as soon as there is one, the evaluation stops.

        Returns:
            The metrics over all workers; None where a signal stopped any of them.
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
        # Frozen functions sit in reference cycles. Left to Python's own collector,
        # those of three evaluations, 3.5 GB for half an R50, pile up before one goes.
        del predictor
        gc.collect()
        return metrics

"""Reports on a training: progress bar, log, metrics.jsonl and TensorBoard."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gcnet_tf.data.records.damage import Damage, damage_text
from gcnet_tf.evaluation.metrics import Metrics
from gcnet_tf.files.atomic import is_disk_full, to_disk, write_text
from gcnet_tf.files.names import ESCAPED
from gcnet_tf.training.monitor.events import event_writer
from gcnet_tf.training.monitor.pace import Pace
from gcnet_tf.visualize.pictures import Palette, panel

METRICS_FILE = "metrics.jsonl"


class Monitor:
    """Collector of the losses of each iteration, which reports them at intervals.

    It writes into the run folder: `train.log` (the printed lines), `metrics.jsonl` (a
    JSON object in each line; "kind" is "train" or "val") and `logs/` (TensorBoard). On
    a terminal a progress bar shows loss, rate, images/s, the share of time spent
    waiting for data, and the time left.
    """

    def __init__(
        self,
        run: Path,
        iterations: int,
        start: int,
        batch_size: int,
        evaluate_every: int,
        unreported: dict | None = None,
        evaluation_due: bool = False,
    ):
        """Opens the logs of a new or a resumed run.

        Args:
            run: the run folder.
            iterations: number of iterations of the whole run.
            start: number of iterations that are done.
            batch_size: number of images in an iteration.
            evaluate_every: number of iterations from an evaluation to the next.
            unreported: result of that method before a stop.
            evaluation_due: whether the run begins with the evaluation of `start`.
        """
        self.run = run
        self.batch_size = batch_size
        self.writer = event_writer(run / "logs", start)
        self._drop_repeated_metrics(start, evaluation_due)
        # disable=None: without a terminal there is no bar, but the lines are printed.
        # The bar has our own estimate, because tqdm's would count compiling and each
        # evaluation as steps.
        self.bar = tqdm(
            total=iterations,
            initial=start,
            desc="train",
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            disable=None,
        )
        self._iterations = iterations
        self._pace = Pace(iterations, start, evaluate_every)
        self._learning_rate = 0.0
        self._reset()
        if unreported:
            self._losses += unreported["losses"]
            # Older versions counted all of their steps.
            self._timed = unreported.get("timed", len(self._losses))
            self._waited, self._worked = unreported["waited"], unreported["worked"]
            self._learning_rate = unreported["learning_rate"]

    def unreported(self) -> dict:
        """Returns the values for the next `report`, for a run that is resumed later.

        When it returns, all that was reported is on the disk.
        """
        if (self.run / METRICS_FILE).is_file():
            to_disk(self.run / METRICS_FILE)
        return {
            "losses": self._losses,
            "timed": self._timed,
            "waited": self._waited,
            "worked": self._worked,
            "learning_rate": self._learning_rate,
        }

    def _reset(self) -> None:
        self._losses: list[dict[str, float]] = []
        self._timed = 0
        self._waited = 0.0
        self._worked = 0.0

    def _drop_repeated_metrics(self, start: int, evaluation_due: bool) -> None:
        """Drops metrics of a killed run that the resumed run computes again."""
        path = self.run / METRICS_FILE
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept_lines = [
                line
                for line in lines
                if _iteration_of(line) < start + (not evaluation_due)
                or _is_of_training(line, start)
            ]
            write_text(path, "".join(kept_lines))

    def advance(self) -> None:
        """Moves the progress bar by an iteration, whose losses are not known yet."""
        self.bar.update()

    def step(
        self,
        losses: dict[str, float],
        learning_rate: float,
        waited: float,
        worked: float,
    ) -> None:
        """Adds an iteration with the seconds that it `waited` for data and `worked`."""
        self._losses.append(losses)
        if self._pace.step(waited + worked):
            self._timed += 1
            self._waited += waited
            self._worked += worked
        self._learning_rate = learning_rate
        self.bar.set_postfix_str(
            f"{self._left(self.bar.n)}, loss {sum(losses.values()):.3f}, "
            f"lr {learning_rate:.2e}, {self.images_per_second:.1f} img/s, "
            f"data {self.waiting_share:.0%}",
            refresh=False,
        )

    def evaluated(self, seconds: float) -> None:
        """Adds the time of an evaluation."""
        self._pace.evaluation(seconds)

    def _left(self, iteration: int) -> str:
        seconds = self._pace.seconds_left(iteration)
        if seconds is None:
            return "compiling"
        return f"{tqdm.format_interval(int(seconds))} left"

    @property
    def images_per_second(self) -> float:
        """Throughput since the last report, without the step that compiles."""
        seconds = self._waited + self._worked
        return self.batch_size * self._timed / seconds if seconds else 0.0

    @property
    def waiting_share(self) -> float:
        """Share of the time since the last report spent waiting for data, in [0, 1]."""
        seconds = self._waited + self._worked
        return self._waited / seconds if seconds else 0.0

    def report(self, iteration: int) -> None:
        """Writes the means since the last report."""
        if not self._losses:
            return
        means = {
            name: float(np.mean([losses[name] for losses in self._losses]))
            for name in self._losses[0]
        }
        values = {
            "loss": sum(means.values()),
            **means,
            "learning_rate": self._learning_rate,
            "images_per_second": self.images_per_second,
            "waiting_for_data": self.waiting_share,
        }
        self._reset()
        with self.writer.as_default(step=iteration):
            tf.summary.scalar("train/loss", values["loss"])
            for name in means:
                tf.summary.scalar(f"train/{name}", means[name])
            tf.summary.scalar("train/learning_rate", self._learning_rate)
            tf.summary.scalar("speed/images_per_second", values["images_per_second"])
            tf.summary.scalar("speed/waiting_for_data", values["waiting_for_data"])
        self.writer.flush()
        self._append({"kind": "train", "iteration": iteration, **values})
        parts = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        self.say(
            f"iteration {iteration}/{self._iterations}: loss {values['loss']:.4f} "
            f"({parts}), lr {self._learning_rate:.3e}, "
            f"{values['images_per_second']:.1f} img/s, "
            f"data {values['waiting_for_data']:.0%}, "
            f"{self._left(iteration)}"
        )

    def report_metrics(
        self, iteration: int, metrics: Metrics, classes: tuple[str, ...]
    ) -> None:
        """Writes the metrics of an evaluation."""
        with self.writer.as_default(step=iteration):
            tf.summary.scalar("val/mIoU", metrics.miou)
            tf.summary.scalar("val/mAcc", metrics.macc)
            tf.summary.scalar("val/aAcc", metrics.aacc)
            for name, iou in zip(classes, metrics.iou):
                if not np.isnan(iou):
                    tf.summary.scalar(f"val_IoU/{name.strip()}", iou)
        self.writer.flush()
        self._append(
            {"kind": "val", "iteration": iteration, **metrics.to_dict(classes)}
        )
        self.say(
            f"iteration {iteration}: val mIoU {100 * metrics.miou:.2f}, "
            f"mAcc {100 * metrics.macc:.2f}, aAcc {100 * metrics.aacc:.2f}"
        )

    def report_named_metrics(
        self, iteration: int, results: Mapping[str, float]
    ) -> None:
        """Writes the results of train.metrics."""
        if not results:
            return
        with self.writer.as_default(step=iteration):
            for name, value in results.items():
                tf.summary.scalar(f"val/{name}", value)
        self.writer.flush()
        self._append({"kind": "val_metrics", "iteration": iteration, **results})
        parts = ", ".join(f"{name} {value:.4f}" for name, value in results.items())
        self.say(f"iteration {iteration}: val {parts}")

    def report_damage(
        self, iteration: int, split: str, damaged: Sequence[Damage]
    ) -> None:
        """Writes how many and which samples of a split are damaged."""
        with self.writer.as_default(step=iteration):
            tf.summary.scalar(f"data/damaged_{split}", len(damaged))
        samples = [asdict(damage) for damage in damaged]
        details = {"split": split, "count": len(damaged), "samples": samples}
        self._append({"kind": "damaged", "iteration": iteration, **details})
        self.say(f"iteration {iteration}: {split}: {damage_text(damaged)}")

    def show_panel(
        self,
        iteration: int,
        index: int,
        image: np.ndarray,
        truth: np.ndarray,
        prediction: np.ndarray,
        palette: Palette,
    ) -> None:
        """Puts image | truth | prediction of a validation image into TensorBoard."""
        picture = panel(image, truth, prediction, palette)
        with self.writer.as_default(step=iteration):
            tf.summary.image(f"val/image_truth_prediction_{index}", picture[None])

    def say(self, text: str) -> None:
        """Prints a line above the progress bar and into `train.log`."""
        self.bar.write(text)
        log_file = self.run / "train.log"
        with log_file.open("a", encoding="utf-8", errors=ESCAPED) as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def close(self) -> None:
        """Closes the progress bar and TensorBoard's writer."""
        self.bar.close()
        try:
            self.writer.close()
        except tf.errors.OpError as error:
            # Another write has failed before for the same reason, and reports it.
            if not is_disk_full(error):
                raise

    def _append(self, record: dict) -> None:
        with (self.run / METRICS_FILE).open("a", encoding="utf-8") as metrics:
            metrics.write(json.dumps(record) + "\n")


class NoMonitor:
    """A null object for workers that are not the chief: it reports nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def _is_of_training(line: str, iteration: int) -> bool:
    """Tells whether a line is of this iteration, and not of its evaluation."""
    if _iteration_of(line) != iteration:
        return False
    record = json.loads(line)
    return record["kind"] == "train" or record.get("split") == "train"


def _iteration_of(line: str) -> float:
    """Reads the iteration of a line of metrics; infinity where a line was cut off."""
    try:
        return json.loads(line)["iteration"]
    except (ValueError, KeyError):
        return float("inf")

"""The values and pictures that a run shows in TensorBoard, as they are written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray


class Shown(NamedTuple):
    """A value or a picture.

    Attributes:
        tag: its name in TensorBoard, such as "val/mIoU".
        step: the iteration.
        seconds: when it was written, in seconds since 1970.
        value: the value, or the bytes of a PNG.
    """

    tag: str
    step: int
    seconds: float
    value: float | bytes


class ShownSoFar:
    """Reader of the folder `logs` of a run, which remembers how far it has read."""

    def __init__(self, logs: Path):
        self._logs = logs
        self._loaders: dict[Path, EventFileLoader] = {}

    def read(self) -> Iterator[Shown]:
        """Yields what was written since the last call, oldest file first."""
        for path in sorted(self._logs.glob("*tfevents*")):
            if path not in self._loaders:
                self._loaders[path] = EventFileLoader(str(path))
            for event in self._loaders[path].Load():
                for item in event.summary.value:
                    value = _value(item)
                    if value is not None:
                        yield Shown(item.tag, event.step, event.wall_time, value)


def _value(item: Any) -> float | bytes | None:
    """Returns the value or the picture of an item; None for any other kind."""
    kind = item.metadata.plugin_data.plugin_name
    if kind == "scalars":
        return float(make_ndarray(item.tensor))
    if kind == "images":
        # Width and height come first, then the pictures of a batch, here of one.
        return bytes(item.tensor.string_val[2])
    return None

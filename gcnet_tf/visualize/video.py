"""Videos and cameras: every frame with its classes, in a file or a window.

This module needs OpenCV, which reads and writes videos, and Pillow.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from gcnet_tf.errors import UserError, require_utf8
from gcnet_tf.files.atomic import partial_path
from gcnet_tf.files.results import cannot_write, new_result, require_place
from gcnet_tf.visualize.pictures import Palette, overlay

# A function from RGB uint8 (height, width, 3) to a picture of the same size.
Paint = Callable[[np.ndarray], np.ndarray]

# Frames per second of sources that do not give their rate.
_RATE = 25.0
_TITLE = "gcnet_tf (q ends)"


def overlay_path(source: str, out: Path) -> Path:
    """Returns the path of the video that `segment_video` writes."""
    name = f"camera_{source}" if source.isdigit() else Path(source).stem
    return out / f"{name}_overlay.mp4"


def check_video(source: str, out: Path) -> None:
    """Checks, before a model is loaded, that a video is there, and its overlay can be.

    Whether a camera's frames are shown or written is known when it is opened.

    Raises:
        UserError: when the video is no file, or its overlay cannot be written.
    """
    require_utf8(out, "--out")
    if source.isdigit():
        return
    require_utf8(source, "--video")
    if not Path(source).is_file():
        raise UserError(
            f"--video {source} is no file; name a video, or the number of a camera."
        )
    _check_overlay(source, out)


def _check_overlay(source: str, out: Path) -> None:
    path = overlay_path(source, out)
    # clip.mp4 and clip.avi have the same overlay, and a camera sees nothing twice.
    if path.exists():
        raise UserError(
            f"{path} exists, and would be replaced by the overlay of {source}; move it "
            "away, or choose another --out."
        )
    require_place(path)


def segment_video(
    source: str,
    out: Path,
    labels: Callable[[np.ndarray], np.ndarray],
    palette: Palette,
) -> None:
    """Paints the classes over a video file, or over a camera until Ctrl-C or the key q.

    A camera's frames are shown in a window where OpenCV has windows. All else is
    written to `overlay_path`, a file that can be played even after Ctrl-C.

    Args:
        source: a video file, or the number of a camera.
        out: the folder for the result.
        labels: function from RGB uint8 `(height, width, 3)` to class ids `(height,
            width)`.
        palette: RGB per class.

    Raises:
        UserError: when the source cannot be opened, holds no frame, or the result
            cannot be written or would replace a file.
    """
    check_video(source, out)
    path = overlay_path(source, out)

    def paint(frame: np.ndarray) -> np.ndarray:
        return overlay(frame, labels(frame), palette)

    capture = _open(source)
    try:
        if source.isdigit() and _has_windows():
            _show(_frames(capture, source), paint)
            return
        if source.isdigit():
            _check_overlay(source, out)
            print(
                "This OpenCV has no windows (opencv-python-headless has none): "
                f"writing {path} until Ctrl-C.",
                flush=True,
            )
        _write(capture, source, path, paint)
    finally:
        capture.release()


def _open(source: str) -> cv2.VideoCapture:
    # Silences the libraries, whose lines about an error would come before our message.
    # FFmpeg's level is read once, when OpenCV first needs FFmpeg.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # The function lies in different modules of OpenCV 4 and 5; 0 is silence.
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)
    if source.isdigit():
        capture = cv2.VideoCapture(int(source))
        hint = "Is it plugged in, and not in use by another program?"
    else:
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG)
        hint = "It may be damaged, or no video; FFmpeg must be able to read it."
    if not capture.isOpened():
        kind = "camera" if source.isdigit() else "video"
        raise UserError(f"Cannot open the {kind} {source}. {hint}")
    return capture


def _frames(capture: cv2.VideoCapture, source: str) -> Iterator[np.ndarray]:
    """Yields RGB frames `(height, width, 3)`, with a progress bar.

    Raises:
        UserError: when there is no frame.
    """
    # Containers state the number of frames, but some state none or a wrong one.
    stated = int(max(capture.get(cv2.CAP_PROP_FRAME_COUNT), 0)) or None
    count = 0
    with tqdm(total=stated, desc="video", unit="frame", disable=None) as bar:
        while (read := capture.read())[0]:
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
            count += 1
            bar.update()
    if count == 0:
        raise UserError(f"{source} holds no frame that can be read; it may be damaged.")
    if stated is not None and count < stated:
        print(
            f"Warning: {source} states {stated} frames and {count} could be read; it "
            "may be cut short."
        )


def _write(capture: cv2.VideoCapture, source: str, path: Path, paint: Paint) -> None:
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 0 < rate < 1000 else _RATE
    writer = None
    count = written = 0
    start = time.monotonic()
    try:
        for frame in _frames(capture, source):
            picture = cv2.cvtColor(paint(frame), cv2.COLOR_RGB2BGR)
            if writer is None:
                writer = _writer(path, rate, picture.shape[1::-1])
            count += 1
            # A camera continues while the network computes, so its frames are repeated.
            due = (time.monotonic() - start) * rate if source.isdigit() else count
            while written < max(due, 1):
                writer.write(picture)
                written += 1
    finally:
        if writer is not None:
            writer.release()  # writes the index without which no player opens it
            with new_result(path) as partial:
                _require_frames(partial, path, written)
            print(f"Wrote {count} frame(s) to {path}")


def _writer(path: Path, rate: float, width_height: tuple[int, ...]) -> cv2.VideoWriter:
    """Opens the temporary file of `new_result`, which moves it when it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    codec = cv2.VideoWriter.fourcc(*"mp4v")
    partial = partial_path(path)
    writer = cv2.VideoWriter(str(partial), codec, rate, width_height)
    if not writer.isOpened():
        partial.unlink(missing_ok=True)
        raise UserError(f"Cannot write {path}; is the folder writable, the disk full?")
    return writer


def _require_frames(partial: Path, path: Path, written: int) -> None:
    """Checks that all frames can be read: the writer is silent about a full disk."""
    capture = cv2.VideoCapture(str(partial), cv2.CAP_FFMPEG)
    num_frames = 0
    while num_frames < written and capture.grab():
        num_frames += 1
    capture.release()
    if num_frames < written:
        raise UserError(
            f"Cannot write {path}: of {written} frames, {num_frames} can be read "
            "again. The disk may be full; make space, or choose another --out."
        )


def _has_windows() -> bool:
    try:
        cv2.namedWindow(_TITLE)
    except cv2.error:
        return False
    return True


def _show(frames: Iterator[np.ndarray], paint: Paint) -> None:
    try:
        for frame in frames:
            cv2.imshow(_TITLE, cv2.cvtColor(paint(frame), cv2.COLOR_RGB2BGR))
            if cv2.waitKey(1) & 0xFF == ord("q"):
                break
    finally:
        cv2.destroyAllWindows()

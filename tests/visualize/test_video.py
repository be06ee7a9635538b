"""Painted videos, from files and cameras."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from gcnet_tf.errors import UserError
from gcnet_tf.visualize import video
from gcnet_tf.visualize.video import check_video, overlay_path, segment_video

PALETTE = ((255, 0, 0), (0, 0, 255))
NUM_FRAMES = 6


def labels(frame):
    """Returns class 0 on the left and 1 on the right."""
    ids = np.zeros(frame.shape[:2], np.uint8)
    ids[:, frame.shape[1] // 2 :] = 1
    return ids


def write_video(path, frames):
    codec = cv2.VideoWriter.fourcc(*"XVID")
    writer = cv2.VideoWriter(str(path), codec, 10.0, (64, 48))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return str(path)


@pytest.fixture
def source(tmp_path):
    """Grey frames that get brighter."""
    frames = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(NUM_FRAMES)]
    return write_video(tmp_path / "drive.avi", frames)


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_every_frame_is_painted(source, tmp_path, capsys):
    segment_video(source, tmp_path / "out", labels, PALETTE)
    path = overlay_path(source, tmp_path / "out")
    assert path.name == "drive_overlay.mp4"
    assert capsys.readouterr().out == f"Wrote {NUM_FRAMES} frame(s) to {path}\n"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    frames, rate = frames_of(path)
    assert len(frames) == NUM_FRAMES and rate == 10
    for index, frame in enumerate(frames):
        for column, colour in ((16, PALETTE[0]), (48, PALETTE[1])):
            expected = (20 * index + np.array(colour)) / 2
            # The tolerance covers compression, and colours at half the resolution.
            np.testing.assert_allclose(frame[24, column], expected, atol=12)


def test_ctrl_c_keeps_a_playable_file(source, tmp_path):
    painted = []

    def interrupted(frame):
        painted.append(frame)
        if len(painted) == 4:
            raise KeyboardInterrupt
        return labels(frame)

    with pytest.raises(KeyboardInterrupt):
        segment_video(source, tmp_path / "out", interrupted, PALETTE)
    frames, _ = frames_of(overlay_path(source, tmp_path / "out"))
    assert len(frames) == 3


def test_an_error_before_the_first_frame_leaves_nothing(source, tmp_path):
    def broken(frame):
        raise UserError("No.")

    with pytest.raises(UserError, match="No."):
        segment_video(source, tmp_path / "out", broken, PALETTE)
    assert not (tmp_path / "out").exists()


def test_videos_that_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="gone.mp4 is no file"):
        segment_video(str(tmp_path / "gone.mp4"), tmp_path, labels, PALETTE)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(UserError, match="Cannot open the video .*damaged.mp4"):
        segment_video(str(damaged), tmp_path / "out", labels, PALETTE)
    with pytest.raises(UserError, match="Cannot open the camera 987"):
        segment_video("987", tmp_path, labels, PALETTE)
    assert not (tmp_path / "out").exists()


def test_opencv_prints_nothing_itself(tmp_path):
    """The test needs another process: the level is read at FFmpeg's first use."""
    (tmp_path / "damaged.mp4").write_bytes(bytes(range(256)) * 40)
    code = (
        "import sys; from pathlib import Path; from gcnet_tf.commands import cli; "
        "from gcnet_tf.visualize.video import segment_video; "
        "cli.run(lambda: segment_video(sys.argv[1], Path('out'), None, None))"
    )
    for source, kind in (("damaged.mp4", "video"), ("987", "camera")):
        command = [sys.executable, "-c", code, source]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 2
        assert result.stderr.startswith(f"Error: Cannot open the {kind} {source}. ")
        assert result.stderr.count("\n") == 1


def test_a_video_that_is_cut_short(tmp_path, capsys):
    """The index at its end is missing; the remaining frames are read."""
    frames = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    cut = tmp_path / "cut.avi"
    write_video(cut, frames)
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    segment_video(str(cut), tmp_path / "out", labels, PALETTE)
    painted, _ = frames_of(overlay_path(str(cut), tmp_path / "out"))
    assert 10 < len(painted) < 35
    text = capsys.readouterr().out
    assert f"states 40 frames and {len(painted)} could be read" in text


def test_a_file_is_never_replaced(source, tmp_path):
    """The overlay of drive.mp4 has the name of that of drive.avi."""
    segment_video(source, tmp_path / "out", labels, PALETTE)
    path = overlay_path(source, tmp_path / "out")
    before = path.read_bytes()
    other = tmp_path / "drive.mp4"
    other.write_bytes(Path(source).read_bytes())
    with pytest.raises(UserError, match=f"{path} exists.* overlay of {other}"):
        segment_video(str(other), tmp_path / "out", labels, PALETTE)
    # The video is a link to where its own overlay would be.
    other.unlink()
    other.symlink_to(path)
    with pytest.raises(UserError, match="exists, and would be replaced"):
        segment_video(str(other), tmp_path / "out", labels, PALETTE)
    assert path.read_bytes() == before


def test_a_full_disk_is_no_success(tmp_path, full_disk, capsys):
    """The writer of OpenCV says nothing of it."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    source = write_video(tmp_path / "noise.avi", noise)
    with full_disk(20_000), pytest.raises(UserError, match="of 60 frames, .* disk"):
        segment_video(source, tmp_path / "out", lambda frame: frame[..., 0], PALETTE)
    assert not list((tmp_path / "out").iterdir())
    assert "Wrote" not in capsys.readouterr().out


def test_a_place_where_no_video_can_be_written(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write .*drive_overlay.mp4: Not a dir"):
        check_video(source, tmp_path / "file" / "out")


class Camera:
    """A camera that is unplugged after three frames."""

    def __init__(self):
        self.left = 3

    def isOpened(self):
        return True

    def get(self, setting):
        return 30.0 if setting == cv2.CAP_PROP_FPS else -1.0

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((48, 64, 3), 100, np.uint8)

    def release(self):
        pass


open_file = cv2.VideoCapture


def camera_or_file(source, *options):
    return open_file(source, *options) if options else Camera()


def test_a_camera_without_a_window_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video.cv2, "VideoCapture", camera_or_file)
    monkeypatch.setattr(video, "_has_windows", lambda: False)
    clock = iter([0.0, 0.01, 0.1, 0.2])
    monkeypatch.setattr(video.time, "monotonic", lambda: next(clock))
    segment_video("0", tmp_path, labels, PALETTE)
    with pytest.raises(UserError, match="camera_0_overlay.mp4 exists"):
        segment_video("0", tmp_path, labels, PALETTE)
    text = capsys.readouterr().out
    assert "opencv-python-headless has none" in text and "camera_0_overlay" in text
    monkeypatch.undo()
    # 0.2 s at 30 frames per second, however slow the network is.
    assert len(frames_of(tmp_path / "camera_0_overlay.mp4")[0]) == 6


def test_a_camera_with_a_window_is_shown_until_q(tmp_path, monkeypatch):
    shown, keys = [], iter([255, ord("q")])
    monkeypatch.setattr(video.cv2, "VideoCapture", lambda index: Camera())
    for name, function in {
        "namedWindow": lambda title: None,
        "imshow": lambda title, picture: shown.append(picture[24, 16]),
        "waitKey": lambda wait: next(keys),
        "destroyAllWindows": lambda: shown.append("closed"),
    }.items():
        monkeypatch.setattr(video.cv2, name, function)
    segment_video("0", tmp_path, labels, PALETTE)
    assert len(shown) == 3 and shown[-1] == "closed"
    # Red over grey, as OpenCV orders it.
    np.testing.assert_array_equal(shown[0], [50, 50, 178])
    assert not list(tmp_path.iterdir())

"""Files of predictions, with a network that numpy computes."""

import dataclasses
import os

import numpy as np
import pytest
from helpers import random_image, save_image
from PIL import Image

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation import predictions
from gcnet_tf.evaluation.prediction_files import model_record
from gcnet_tf.evaluation.predictions import plan, write_predictions
from gcnet_tf.runtime import Predictor
from gcnet_tf.runtime.predict import Network
from gcnet_tf.runtime.protocol import Protocol

PALETTE = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
PROTOCOL = Protocol("tiled", (32, 24), (512, 512), (512, 512), False, (1.0,), False)
MODEL = "a" * 64


def predictor(sizes=None):
    """Segments each pixel by its strongest colour."""

    def labels(images):
        if sizes is not None:
            sizes.append(images.shape)
        return images.argmax(axis=-1).astype(np.uint8)

    network = Network(None, labels)
    return Predictor.of_network(network, PROTOCOL, ("r", "g", "b"), PALETTE)


def run(source, out, model=MODEL, sizes=None, file_format="ids"):
    tasks = plan(source, out, file_format)
    return write_predictions(predictor(sizes), tasks, model, file_format)


def files_in(folder):
    """Returns the bytes of all files by their names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def images(tmp_path):
    """A folder with an image, and two of one name in sub-folders."""
    for seed, name in enumerate(("a.png", "left/x.png", "right/deep/x.jpg")):
        save_image(tmp_path / "in" / name, random_image(seed))
    return tmp_path / "in"


def test_sub_folders_are_kept(images, tmp_path):
    (images / "left" / "._x.png").write_text("of macOS")
    save_image(images / ".cache" / "a.png", random_image(9))
    (images / "README.txt").write_text("hello")
    (images / "right" / "loop").symlink_to(images)
    with pytest.warns(UserWarning, match=r"Passed over 1 of the 4 .*: README\.txt\."):
        outcome = run(images, tmp_path / "out")
    assert outcome == (3, 0, [])
    names = ["a", "left/x", "right/deep/x"]
    ends = (".png", "_overlay.png")
    assert sorted(files_in(tmp_path / "out")) == [
        n + end for n in names for end in ends
    ]
    ids = np.asarray(Image.open(tmp_path / "out" / "left" / "x.png"))
    np.testing.assert_array_equal(ids, random_image(1).argmax(-1))


def test_a_folder_that_cannot_be_listed_is_not_left_out(images, monkeypatch):
    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match="deep: Permission denied"):
        predictions.find_images(images)


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path, full_disk):
    """The class ids fit, and the overlay does not."""
    image = save_image(tmp_path / "in" / "a.png", random_image(0))
    out = tmp_path / "out"
    with full_disk(1500), pytest.raises(
        UserError, match="Cannot write .*a_overlay.png"
    ):
        run(image, out)
    assert list(files_in(out)) == ["a.png"]
    assert run(image, out) == (1, 0, [])


def test_no_images(tmp_path):
    with pytest.raises(UserError, match="No images"):
        plan(tmp_path, tmp_path / "out", "ids")
    with pytest.raises(UserError, match="no image file or folder"):
        plan(tmp_path / "gone", tmp_path / "out", "ids")


@pytest.mark.parametrize(
    "first, second",
    [
        ("a.png", "a_overlay.png"),
        ("a.png", "a.jpg"),
        ("left/a.png", "left/a.bmp"),
        ("a.png", "partial-a.png"),
    ],
)
def test_predictions_that_would_share_a_file(first, second, tmp_path):
    for seed, name in enumerate((first, second)):
        save_image(tmp_path / "in" / name, random_image(seed))
    with pytest.raises(UserError, match="would both be") as caught:
        plan(tmp_path / "in", tmp_path / "out", "ids")
    for name in (first, second):
        assert str(tmp_path / "in" / name) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_links_between_folders_of_predictions(images, tmp_path):
    """Two names of a folder are one folder."""
    (images / "right" / "deep" / "x.jpg").rename(images / "right" / "x.jpg")
    (tmp_path / "out" / "left").mkdir(parents=True)
    (tmp_path / "out" / "right").symlink_to(tmp_path / "out" / "left")
    with pytest.raises(UserError, match="would both be"):
        plan(images, tmp_path / "out", "ids")


def test_without_overlays_their_names_are_free(tmp_path):
    for seed, name in enumerate(("a.png", "a_overlay.png")):
        save_image(tmp_path / "in" / name, random_image(seed))
    outcome = run(tmp_path / "in", tmp_path / "out", file_format="cityscapes")
    assert outcome.num_written == 2
    assert sorted(files_in(tmp_path / "out")) == ["a.png", "a_overlay.png"]


def test_an_image_is_never_replaced(images, tmp_path):
    before = files_in(images)
    with pytest.raises(UserError, match="would replace an image"):
        plan(images / "a.png", images, "ids")
    with pytest.raises(UserError, match="would replace an image"):
        plan(images, images / "left" / "..", "ids")
    # The image is a link to where its own prediction would be.
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "a.jpg").symlink_to(images / "a.png")
    with pytest.raises(UserError, match="would replace an image"):
        plan(tmp_path / "link", images, "ids")
    assert files_in(images) == before


def test_other_files_are_never_replaced(images, tmp_path):
    mine = save_image(tmp_path / "out" / "left" / "x_overlay.png", random_image(9))
    before = mine.read_bytes()
    with pytest.raises(UserError, match=f"{mine} exists, and is not a prediction"):
        plan(images, tmp_path / "out", "ids")
    assert files_in(tmp_path / "out") == {"left/x_overlay.png": before}


def test_predictions_are_no_images(images):
    """A folder of results inside the folder of images does not grow with each run."""
    assert run(images, images / "out").num_written == 3
    assert run(images, images / "out") == (0, 3, [])
    assert run(images, images / "other").num_written == 3


def test_a_second_run_does_what_is_missing(images, tmp_path):
    out = tmp_path / "out"
    run(images, out)
    whole = files_in(out)
    (out / "a_overlay.png").unlink()
    (out / "left" / "x.png").unlink()
    # Half of a file, which a killed run leaves, has another name.
    (out / "right" / "deep" / "partial-x.png").write_bytes(b"half")
    sizes = []
    assert run(images, out, sizes=sizes) == (2, 1, [])
    assert len(sizes) == 2
    assert whole.items() <= files_in(out).items()


def test_another_model_or_image_is_another_prediction(images, tmp_path):
    out = tmp_path / "out"
    run(images, out)
    assert run(images, out, model="b" * 64) == (3, 0, [])
    assert run(images, out, model="b" * 64) == (0, 3, [])
    save_image(images / "a.png", random_image(7))
    assert run(images, out, model="b" * 64) == (1, 2, [])
    ids = np.asarray(Image.open(out / "a.png"))
    np.testing.assert_array_equal(ids, random_image(7).argmax(-1))
    assert run(images, out, model="b" * 64, file_format="ade20k") == (3, 0, [])


def test_images_that_cannot_be_segmented_are_listed(images, tmp_path):
    damaged = images / "left" / "x.png"
    damaged.write_bytes(damaged.read_bytes()[:500])
    (images / "gone.png").symlink_to(tmp_path / "nowhere.png")
    outcome = run(images, tmp_path / "out")
    assert outcome[:2] == (2, 0) and len(outcome.failures) == 2
    assert str(images / "gone.png") in outcome.failures[0]
    assert str(damaged) in outcome.failures[1]
    assert "left/x.png" not in files_in(tmp_path / "out")
    save_image(damaged, random_image(1))
    (images / "gone.png").unlink()
    assert run(images, tmp_path / "out") == (1, 2, [])


def test_an_image_that_the_model_refuses_is_named(images, tmp_path):
    class Refusing:
        classes, palette, protocol = ("r", "g", "b"), PALETTE, PROTOCOL
        parallel = 1

        def labels(self, image):
            raise UserError("Too large.")

    tasks = plan(images / "a.png", tmp_path / "out", "ids")
    outcome = write_predictions(Refusing(), tasks, MODEL, "ids")
    assert outcome == (0, 0, [f"{images / 'a.png'}: Too large."])


def test_the_record_is_that_of_all_that_decides():
    config = load_config("shapes_r18")
    plain = predictor()
    other = load_config("shapes_r18", ["model.align_corners=true"])
    mode = Predictor.of_network(
        plain.network,
        dataclasses.replace(PROTOCOL, ms_flip=True),
        plain.classes,
        PALETTE,
    )
    colours = Predictor.of_network(
        plain.network, PROTOCOL, plain.classes, PALETTE[::-1]
    )
    records = [
        model_record("1", plain, config),
        model_record("2", plain, config),
        model_record("1", plain, other),
        model_record("1", mode, config),
        model_record("1", colours, config),
    ]
    assert len(set(records)) == 5
    assert model_record("1", predictor(), load_config("shapes_r18")) == records[0]


def test_files_without_a_record(tmp_path):
    for content in (b"", b"\x89PNG", bytes(range(256)) * 2):
        (tmp_path / "a.png").write_bytes(content)
        assert predictions.record_of(tmp_path / "a.png") is None
    assert predictions.record_of(tmp_path / "gone.png") is None

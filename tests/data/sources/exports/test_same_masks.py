"""Every export of the same scenes gives the same masks, from make_config to records."""

import io
import unicodedata
import warnings

import export_trees as trees
import numpy as np
import pytest
from helpers import exit_code, save_image
from PIL import Image

from gcnet_tf.config import config_from_dict, load_config
from gcnet_tf.data.check.recognise import found_text, recognise, write_config
from gcnet_tf.data.records.samples import encode_pair, read_label
from gcnet_tf.data.sources.exports.table import EXPORTS as EXPORT_NAMES
from gcnet_tf.data.sources.find import find_samples


def make_folder(root, images, labels, label_name="{}.png"):
    for scene, split in (("first", "train"), ("second", "val")):
        trees.save_scene(root / images.format(split) / f"{scene}.jpg", scene)
        path = root / labels.format(split) / label_name.format(scene)
        save_image(path, trees.truth(scene))
    return root


def folder(*names):
    return lambda root: make_folder(root, *names)


def run_lengths(box):
    mask = np.zeros(trees.SIZE, np.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    pixels = mask.T.ravel()
    edges = np.flatnonzero(np.diff(pixels, prepend=0, append=0))
    ends = np.append(edges, pixels.size) if edges[-1] < pixels.size else edges
    counts = np.diff(ends, prepend=0).tolist()
    return {"size": list(trees.SIZE), "counts": counts}


def compressed(box):
    from pycocotools import mask as tool

    rle = tool.frPyObjects(run_lengths(box), *trees.SIZE)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


EXPORTS = [
    ("coco", trees.make_coco),
    ("coco", lambda root: trees.make_coco(root, run_lengths)),
    ("coco", lambda root: trees.make_coco(root, compressed)),
    ("coco", trees.make_official_coco),
    ("coco", trees.make_roboflow_coco),
    ("roboflow", trees.make_roboflow_masks),
    ("labelme_json", trees.make_labelme_json),
    ("yolo", trees.make_yolo),
    ("yolo", lambda root: trees.make_yolo(root, "{}/images", "{}/labels")),
    ("coco", trees.make_made("datumaro", "images")),
    ("labelme_json", trees.make_made("labelme", ".")),
    ("label_studio", trees.make_made("label_studio", "images")),
    ("supervisely", trees.make_made("supervisely", "set/img")),
    ("folder", folder("images", "masks")),
    ("folder", folder("Images", "Annotations")),
    ("folder", folder("images/{}", "masks/{}")),
    ("folder", folder("{}/images", "{}/masks")),
    ("folder", folder("img_dir/{}", "ann_dir/{}")),
    ("folder", folder("images", "masks", "{}_mask.png")),
    ("folder", folder("images", "labels", "{}.jpg.png")),
    ("beside", folder(".", ".", "{}_mask.png")),
    ("beside", folder(".", ".", "{}.jpg.png")),
    ("beside", folder("{}", "{}", "{}_mask.png")),
]


@pytest.mark.parametrize("dataset, make", EXPORTS)
def test_the_masks_are_those_of_the_scenes(tmp_path, dataset, make):
    root = make(tmp_path / "my export")
    found = recognise(root)
    assert (found.dataset, found.others) == (dataset, ())
    write_config(found, root, tmp_path / "c.json", "c")
    data = load_config(tmp_path / "c.json").data
    names = ("background", *trees.NAMES)
    if dataset in ("folder", "beside"):
        names = ("class_0", "class_1", "class_2")
    assert data.classes == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = [*find_samples(data, "train"), *find_samples(data, "val")]
    seen = {}
    for pair in pairs:
        stored = np.asarray(Image.open(io.BytesIO(encode_pair(pair, None).label)))
        scene = "first" if "first" in pair.name else "second"
        seen[scene] = stored
        assert np.array_equal(stored, trees.truth(scene)), pair.name
        assert np.array_equal(read_label(pair.label, pair.facts), stored)
    assert sorted(seen) == ["first", "second"]


def accented(root, image_form, other_form):
    """Puts an accent into the names of files, in one form for images, else in another.

    What the files say of names has the other form, too.
    """
    image_word, other_word = (
        unicodedata.normalize(form, "firsté") for form in (image_form, other_form)
    )
    for path in sorted(root.rglob("*.*")):
        if path.suffix in (".json", ".txt", ".csv", ".yaml"):
            path.write_text(path.read_text().replace("first", other_word))
        word = image_word if path.suffix == ".jpg" else other_word
        path.rename(path.with_name(path.name.replace("first", word)))
    return root


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("dataset, make", EXPORTS)
def test_accents_may_have_another_form_on_the_disk(tmp_path, dataset, make, forms):
    root = accented(make(tmp_path / "export"), *forms)
    write_config(recognise(root, dataset), root, tmp_path / "c.json", "c")
    data = load_config(tmp_path / "c.json").data
    pairs = [*find_samples(data, "train"), *find_samples(data, "val")]
    (pair,) = [pair for pair in pairs if "first" in pair.name]
    assert pair.name.endswith("firsté") or "firsté_jpg" in pair.name  # composed
    assert pair.image.is_file()
    stored = np.asarray(Image.open(io.BytesIO(encode_pair(pair, None).label)))
    assert np.array_equal(stored, trees.truth("first"))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_of_classes_may_have_another_form_in_the_configuration(tmp_path, forms):
    in_export, in_config = (unicodedata.normalize(form, "chaté") for form in forms)
    root = trees.make_labelme_json(tmp_path / "export")
    for path in root.glob("*.json"):
        path.write_text(path.read_text().replace('"cat"', f'"{in_export}"'))
    data = {
        "dataset": "labelme_json",
        "root": str(root),
        "classes": ["background", in_config, "dog"],
        "val_share": 0.5,
    }
    data = config_from_dict({"data": data}).data
    for pair in (*find_samples(data, "train"), *find_samples(data, "val")):
        label = read_label(pair.label, pair.facts)
        assert np.array_equal(label, trees.truth(pair.name))


@pytest.mark.parametrize(
    "make, reason",
    [
        (trees.make_coco, "annotations/instances_default.json has images, annot"),
        (trees.make_roboflow_masks, "train/_classes.csv names the classes"),
        (trees.make_labelme_json, "first.json has shapes and imagePath"),
        (trees.make_yolo, "labels/train/first.txt beside images/train/"),
        (trees.make_made("label_studio", "images"), "tasks.json lists tasks"),
        (trees.make_brush_pngs, "the name of task-1-annotation-11-by"),
        (trees.make_made("supervisely", "set/img"), "meta.json beside DATASET/ann"),
        (folder("images", "masks"), "images/ and masks/ with PNGs"),
        (folder(".", ".", "{}_mask.png"), "first_mask.png beside its image"),
    ],
)
def test_make_config_says_why(tmp_path, capsys, make, reason):
    root = make(tmp_path / "export")
    assert exit_code("make_config", root, "--out", tmp_path / "c.json") == 0
    assert f"because of {reason}" in capsys.readouterr().out


def test_a_wrong_guess_is_corrected(tmp_path, capsys):
    """YOLO's polygons and masks of ids in the same folder."""
    root = make_folder(trees.make_yolo(tmp_path / "export"), "images/{}", "masks/{}")
    assert "It may also be folder: use --layout" in found_text(recognise(root))
    arguments = ["make_config", root, "--out", tmp_path / "c.json"]
    assert exit_code(*arguments, "--layout", "folder") == 0
    assert "Layout:  folder, because" in capsys.readouterr().out
    assert load_config(tmp_path / "c.json").data.dataset == "folder"
    assert exit_code(*arguments, "--layout", "flat") == 2
    assert "choose from" in (error := capsys.readouterr().err) and "yolo" in error


@pytest.mark.parametrize("name", list(EXPORT_NAMES))
def test_a_layout_that_is_not_there_is_one_sentence(tmp_path, capsys, name):
    make_folder(tmp_path / "export", "images", "masks")
    arguments = [tmp_path / "export", "--out", tmp_path / "c.json", "--layout", name]
    assert exit_code("make_config", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and "Traceback" not in error


def test_commands_work_with_the_configuration(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = trees.make_coco(tmp_path / "export")
    assert exit_code("make_config", root, "--out", "c.json", "--name", "r") == 0
    assert exit_code("check_data", "--cfg", "c.json", "--sheet", "s.png") == 0
    assert exit_code("make_tfrecords", "--cfg", "c.json") == 0
    assert "train: 1 images" in capsys.readouterr().out
    assert (tmp_path / "s.png").is_file()


@pytest.mark.parametrize("folder", ["", "labels/train"])
def test_names_of_yolo_in_classes_txt(tmp_path, folder):
    root = trees.make_yolo(tmp_path)
    (root / "data.yaml").unlink()
    (root / folder / "classes.txt").write_text("cat\ndog\n")
    found = recognise(root)
    assert found.classes == ("background", "cat", "dog") and found.are_names_known


def test_ids_of_yolo_without_names_get_those_of_the_configuration(tmp_path):
    root = trees.make_yolo(tmp_path / "export")
    (root / "data.yaml").unlink()
    found = recognise(root)
    assert found.classes == ("background", "class_0", "class_1")
    assert "put them into the file" in found_text(found)
    write_config(found, root, tmp_path / "c.json", "c")
    path = tmp_path / "c.json"
    path.write_text(path.read_text().replace("class_0", "x").replace("class_1", "y"))
    (pair,) = find_samples(load_config(path).data, "train")
    assert np.array_equal(read_label(pair.label, pair.facts), trees.truth("first"))

"""The published rows, compared with a table from docs/reference.md, section 4."""

import json
from pathlib import Path

import pytest

from gcnet_tf.config import config_to_dict, load_config
from gcnet_tf.data.catalog import dataset_facts

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
URL = "https://download.openmmlab.com/mmsegmentation/v0.5/gcnet/"

# name, depth, classes, crop (height, width), align_corners, inference, scale,
# iterations, global batch, mIoU, mIoU multi-scale + flip, memory, fps, end of address
ROWS = """
cityscapes_r50_512x1024_40k   50  19  512 1024 F whole 2048 1024  40000  8 77.69 78.56  5.8  3.93 gcnet_r50-d8_512x1024_40k_cityscapes/gcnet_r50-d8_512x1024_40k_cityscapes_20200618_074436-4b0fd17b.pth
cityscapes_r101_512x1024_40k 101  19  512 1024 F whole 2048 1024  40000  8 78.28 79.34  9.2  2.61 gcnet_r101-d8_512x1024_40k_cityscapes/gcnet_r101-d8_512x1024_40k_cityscapes_20200618_074436-5e62567f.pth
cityscapes_r50_769x769_40k    50  19  769  769 T slide 2049 1025  40000  8 78.12 80.09  6.5  1.67 gcnet_r50-d8_769x769_40k_cityscapes/gcnet_r50-d8_769x769_40k_cityscapes_20200618_182814-a26f4471.pth
cityscapes_r101_769x769_40k  101  19  769  769 T slide 2049 1025  40000  8 78.95 80.71 10.5  1.13 gcnet_r101-d8_769x769_40k_cityscapes/gcnet_r101-d8_769x769_40k_cityscapes_20200619_092550-ca4f0a84.pth
cityscapes_r50_512x1024_80k   50  19  512 1024 F whole 2048 1024  80000  8 78.48 80.01    -     - gcnet_r50-d8_512x1024_80k_cityscapes/gcnet_r50-d8_512x1024_80k_cityscapes_20200618_074450-ef8f069b.pth
cityscapes_r101_512x1024_80k 101  19  512 1024 F whole 2048 1024  80000  8 79.03 79.84    -     - gcnet_r101-d8_512x1024_80k_cityscapes/gcnet_r101-d8_512x1024_80k_cityscapes_20200618_074450-778ebf69.pth
cityscapes_r50_769x769_80k    50  19  769  769 T slide 2049 1025  80000  8 78.68 80.66    -     - gcnet_r50-d8_769x769_80k_cityscapes/gcnet_r50-d8_769x769_80k_cityscapes_20200619_092516-4839565b.pth
cityscapes_r101_769x769_80k  101  19  769  769 T slide 2049 1025  80000  8 79.18 80.71    -     - gcnet_r101-d8_769x769_80k_cityscapes/gcnet_r101-d8_769x769_80k_cityscapes_20200619_092628-8e043423.pth
ade20k_r50_80k                50 150  512  512 F whole 2048  512  80000 16 41.47 42.85  8.5 23.38 gcnet_r50-d8_512x512_80k_ade20k/gcnet_r50-d8_512x512_80k_ade20k_20200614_185146-91a6da41.pth
ade20k_r101_80k              101 150  512  512 F whole 2048  512  80000 16 42.82 44.54   12 15.20 gcnet_r101-d8_512x512_80k_ade20k/gcnet_r101-d8_512x512_80k_ade20k_20200615_020811-c3fcb6dd.pth
ade20k_r50_160k               50 150  512  512 F whole 2048  512 160000 16 42.37 43.52    -     - gcnet_r50-d8_512x512_160k_ade20k/gcnet_r50-d8_512x512_160k_ade20k_20200615_224122-d95f3e1f.pth
ade20k_r101_160k             101 150  512  512 F whole 2048  512 160000 16 43.69 45.21    -     - gcnet_r101-d8_512x512_160k_ade20k/gcnet_r101-d8_512x512_160k_ade20k_20200615_225406-615528d7.pth
voc_r50_20k                   50  21  512  512 F whole 2048  512  20000 16 76.42 77.51  5.8 23.35 gcnet_r50-d8_512x512_20k_voc12aug/gcnet_r50-d8_512x512_20k_voc12aug_20200617_165701-3cbfdab1.pth
voc_r101_20k                 101  21  512  512 F whole 2048  512  20000 16 77.41 78.56  9.2 14.80 gcnet_r101-d8_512x512_20k_voc12aug/gcnet_r101-d8_512x512_20k_voc12aug_20200617_165713-6c720aa9.pth
voc_r50_40k                   50  21  512  512 F whole 2048  512  40000 16 76.24 77.63    -     - gcnet_r50-d8_512x512_40k_voc12aug/gcnet_r50-d8_512x512_40k_voc12aug_20200613_195105-9797336d.pth
voc_r101_40k                 101  21  512  512 F whole 2048  512  40000 16 77.84 78.59    -     - gcnet_r101-d8_512x512_40k_voc12aug/gcnet_r101-d8_512x512_40k_voc12aug_20200613_185806-1e38208d.pth
"""  # noqa: E501
TABLE = [line.split() for line in ROWS.strip().splitlines()]


def test_table_lists_sixteen_rows():
    assert len({row[0] for row in TABLE}) == 16


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_row_says_what_was_published(row):
    name, depth, num_classes, height, width, align, mode, long, short = row[:9]
    iterations, batch, miou, ms_flip, memory, fps, address = row[9:]
    config = load_config(name)
    facts = dataset_facts(config.data.dataset)

    assert config.model.backbone.depth == int(depth)
    assert facts.num_classes == int(num_classes)
    assert config.augment.crop_size == (int(height), int(width))
    assert config.model.align_corners == (align == "T")
    assert config.evaluation.mode == mode
    assert config.augment.base_scale == (int(long), int(short))
    assert config.evaluation.scale == (int(long), int(short))
    assert config.train.iterations == int(iterations)
    assert config.train.batch_size == int(batch)

    published = config.published
    numbers = [
        published.miou,
        published.miou_ms_flip,
        published.memory_gb,
        published.fps,
    ]
    texts = [miou, ms_flip, memory, fps]
    assert numbers == [None if text == "-" else float(text) for text in texts]
    assert published.checkpoint_url == URL + address


@pytest.mark.parametrize("name", [row[0] for row in TABLE])
def test_rows_share_the_recipe(name):
    config = load_config(name)
    model, train, augment = config.model, config.train, config.augment
    assert (model.head.channels, model.auxiliary.channels) == (512, 256)
    assert (model.head.dropout, model.auxiliary.dropout) == (0.1, 0.1)
    assert (model.backbone.base_channels, model.backbone.output_stride) == (64, 8)
    # The block's defaults are the published values, which a test of the layers checks.
    assert (model.head.context.block, model.head.context.given()) == ("gc", {})
    assert model.backbone.context.block == "none"
    assert (train.learning_rate, train.min_learning_rate) == (0.01, 1e-4)
    assert (train.poly_power, train.momentum) == (0.9, 0.9)
    assert (train.weight_decay, train.auxiliary_weight) == (5e-4, 0.4)
    assert train.precision == "float32"
    assert train.log_every == 50
    assert train.evaluate_every == train.checkpoint_every == train.iterations // 10
    assert augment.ratio_range == (0.5, 2.0)
    assert (augment.category_max_ratio, augment.flip_probability) == (0.75, 0.5)
    assert augment.photometric_distortion
    assert (config.evaluation.window, config.evaluation.stride) == (
        (769, 769),
        (513, 513),
    )


@pytest.mark.parametrize(
    "name, dataset, root, records",
    [
        (
            "voc_r50_20k",
            "voc12aug",
            "data/VOCdevkit/VOC2012",
            "data/tfrecords/voc12aug",
        ),
        (
            "ade20k_r101_160k",
            "ade20k",
            "data/ADEChallengeData2016",
            "data/tfrecords/ade20k",
        ),
        (
            "cityscapes_r50_769x769_40k",
            "cityscapes",
            "data/cityscapes",
            "data/tfrecords/cityscapes",
        ),
    ],
)
def test_folders_of_the_data(name, dataset, root, records):
    data = load_config(name).data
    assert (data.dataset, data.root, data.records) == (dataset, root, records)


# Rows with another block: the row that each starts from, and the differences to it.
FAMILY = {
    **{
        f"{row}_{block}": (row, {"model.head.context.block": block})
        for row, blocks in (
            ("camvid_r18", ("nl", "snl", "se", "none")),
            ("voc_r50_20k", ("nl", "snl", "se")),
        )
        for block in blocks
    },
    **{
        f"voc_r50_20k_gc_c3c5_r{share}": (
            "voc_r50_20k",
            {
                "model.backbone.context.block": "gc",
                "model.backbone.context.ratio": 1 / share,
            },
        )
        for share in (16, 4)
    },
}


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_differs_in_its_block_alone(name):
    row, expected = FAMILY[name]
    base = dict(settings_of(load_config(row)))
    config = dict(settings_of(load_config(name)))
    differences = {
        path: value
        for path, value in config.items()
        if value != base[path] and not path.startswith("published.")
    }
    assert differences == expected
    assert config["model.backbone.context.stages"] == [2, 3, 4]


def settings_of(config):
    """Returns pairs of the dotted path and the value of every setting."""

    def walk(section, prefix):
        for name, value in section.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")
            else:
                yield prefix + name, value

    return walk(config_to_dict(config), "")


def test_the_published_non_local_row():
    published = load_config("voc_r50_20k_nl").published
    assert (published.miou, published.miou_ms_flip) == (76.20, 77.12)
    assert (published.memory_gb, published.fps) == (6.4, 21.21)
    assert published.checkpoint_url.endswith(
        "/nonlocal_net/nonlocal_r50-d8_512x512_20k_voc12aug/"
        "nonlocal_r50-d8_512x512_20k_voc12aug_20200617_222613-07f2a57c.pth"
    )


def test_camvid_row():
    config = load_config("camvid_r18")
    assert config.model.backbone.depth == 18
    assert config.model.backbone.base_channels == 64
    assert (config.model.head.channels, config.model.auxiliary.channels) == (128, 64)
    assert config.data.classes == (
        *("sky", "building", "pole", "road", "pavement", "tree", "sign_symbol"),
        *("fence", "car", "pedestrian", "bicyclist"),
    )
    assert len(set(config.data.palette)) == 11
    assert config.augment.crop_size == (192, 256)
    assert config.augment.base_scale == config.evaluation.scale == (480, 360)
    assert config.augment.ratio_range == (0.5, 2.0)
    assert (config.train.iterations, config.train.batch_size) == (800, 8)
    assert (config.train.learning_rate, config.train.min_learning_rate) == (0.01, 1e-4)
    assert (config.train.auxiliary_weight, config.train.seed) == (0.4, 0)


@pytest.mark.parametrize(
    "name, architecture",
    [
        ("voc_mobilenetv2_20k", "mobilenet_v2"),
        ("voc_mobilenetv3_20k", "mobilenet_v3_large"),
        ("camvid_mobilenetv3", "mobilenet_v3_large"),
    ],
)
def test_rows_for_phones(name, architecture):
    config = load_config(name)
    backbone, head = config.model.backbone, config.model.head
    assert (backbone.architecture, backbone.output_stride) == (architecture, 16)
    assert (head.channels, head.separable) == (128, True)
    other = load_config("camvid_r18" if "camvid" in name else "voc_r50_20k")
    assert (config.data, config.augment) == (other.data, other.augment)
    assert config.train.iterations == other.train.iterations
    assert config.train.batch_size == other.train.batch_size


@pytest.mark.parametrize(
    "name, reference, size",
    [
        ("voc_r50vd_40k", "voc_r50_40k", (500, 500)),
        ("cityscapes_r50vd_512x1024_80k", "cityscapes_r50_512x1024_80k", (2048, 1024)),
    ],
)
def test_rows_of_paddleseg(name, reference, size):
    config, other = load_config(name), load_config(reference)
    assert config.model.backbone.architecture == "resnet_vd"
    assert (config.model.head, config.model.auxiliary) == (
        other.model.head,
        other.model.auxiliary,
    )
    train = config.train
    assert (train.iterations, train.batch_size) == (
        other.train.iterations,
        other.train.batch_size,
    )
    assert (train.learning_rate, train.min_learning_rate) == (0.01, 1e-5)
    assert (train.weight_decay, train.momentum, train.poly_power) == (4e-5, 0.9, 0.9)
    (loss,) = train.losses
    assert (loss.kind, loss.avg_non_ignore) == ("cross_entropy", True)
    assert config.augment.base_scale == config.evaluation.scale == size
    assert config.augment.crop_size == other.augment.crop_size
    assert config.augment.category_max_ratio == 1


def test_recipes_of_camvid():
    """They differ from `camvid_r18` as docs/recipes.md says, and in nothing of data."""
    plain = load_config("camvid_r18")
    tuned = load_config("camvid_r18_tuned")
    assert tuned.data == plain.data and tuned.evaluation == plain.evaluation
    assert tuned.model.backbone.pretrained is None
    assert tuned.model.backbone.depth == 18
    assert tuned.train.iterations == plain.train.iterations == 800
    fine = load_config("camvid_mobilenetv2_ft")
    assert fine.data == plain.data and fine.evaluation == plain.evaluation
    assert fine.model.backbone.pretrained.endswith("mobilenet_v2.weights.h5")


def test_shapes_row():
    config = load_config("shapes_r18")
    assert config.data.dataset == "shapes"
    assert config.model.backbone.depth == 18
    # Small enough that the demo trains on two cores.
    assert config.model.backbone.base_channels <= 32
    assert max(config.augment.crop_size) <= 128


def config_files():
    files = sorted(CONFIGS.rglob("*.json"))
    return [file for file in files if file.name != "schema.json"]


@pytest.mark.parametrize("file", config_files(), ids=lambda file: file.name)
def test_every_file_points_editors_to_the_schema(file):
    schema = file.parent / json.loads(file.read_text())["$schema"]
    assert schema.resolve() == CONFIGS / "schema.json"

"""The table of pixels per class that is printed after a conversion."""

from gcnet_tf.data.records.manifest import Manifest, absent_classes, pixel_table


def manifest(split, histogram, num_ignored):
    return Manifest(
        dataset="folder",
        split=split,
        classes=("ground", "tree"),
        num_samples=1,
        class_histogram=histogram,
        num_ignored_pixels=num_ignored,
        shards=(),
    )


def test_pixel_table():
    text = pixel_table([manifest("train", (3, 1), 4), manifest("val", (0, 2), 0)])
    assert text.splitlines() == [
        "class              train       val",
        "ground            37.50%     0.00%",
        "tree              12.50%   100.00%",
        "(not labelled)    50.00%     0.00%",
    ]


def test_absent_classes():
    assert absent_classes(manifest("val", (0, 2), 0)) == ["ground"]
    assert absent_classes(manifest("val", (1, 2), 0)) == []

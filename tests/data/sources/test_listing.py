"""Two text files that name images and labels."""

import pytest

from gcnet_tf.data.sources.listing import listed_pairs
from gcnet_tf.errors import UserError


@pytest.fixture
def lists(tmp_path):
    """A function that writes two lists of lines to text files.

    The files that the lines may name exist.
    """
    for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg", "1.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def write(images, labels):
        paths = tmp_path / "images.txt", tmp_path / "labels.txt"
        for path, lines in zip(paths, (images, labels)):
            path.write_text("\n".join(lines) + "\n\n")
        return paths

    return write


def test_lines_are_pairs_in_their_order(lists, tmp_path):
    absolute = str(tmp_path / "a" / "1.jpg")
    pairs = listed_pairs(
        *lists(["b/2.jpg", absolute], ["2.png", "../%s/1.png" % tmp_path.name])
    )
    assert [pair.name for pair in pairs] == ["2", "1"]
    assert [pair.image.is_file() and pair.label.is_file() for pair in pairs] == [
        True
    ] * 2
    assert [pair.label.name for pair in pairs] == ["2.png", "1.png"]


def test_names_that_repeat_get_their_folders(lists):
    pairs = listed_pairs(*lists(["a/1.jpg", "b/1.jpg"], ["1.png", "1.png"]))
    assert [pair.name for pair in pairs] == ["a/1", "b/1"]


@pytest.mark.parametrize(
    "images, labels, words",
    [
        (["a/1.jpg"], ["1.png", "2.png"], "has 1 lines and .*labels.txt has 2"),
        (["a/1.jpg", "a/3.jpg"], ["1.png"] * 2, r"images\.txt, line 2: .*a/3\.jpg"),
        (["a/1.jpg", "b/2.jpg"], ["1.png", "3.png"], r"labels\.txt, line 2: .*3\.png"),
        (["a/1.jpg", "", "b/2.jpg"], ["1.png"] * 3, "images.txt, line 2: it is empty"),
        ([], ["1.png"], "images.txt, line 1: it is empty"),
        (["a/1.jpg", "b/1.jpg", "a/1.jpg"], ["1.png"] * 3, "lines 1 and 3: both name"),
    ],
)
def test_a_mistake_is_named_with_its_line(lists, images, labels, words):
    with pytest.raises(UserError, match=words):
        listed_pairs(*lists(images, labels))


def test_a_missing_list(tmp_path):
    with pytest.raises(UserError, match="Cannot read .*none.txt"):
        listed_pairs(tmp_path / "none.txt", tmp_path / "none.txt")

"""Texts that are addresses, those that are paths, and places that take paths alone."""

import sys
from pathlib import Path

import pytest

from gcnet_tf.config import load_config
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import new_file, new_folder
from gcnet_tf.files.lock import locked
from gcnet_tf.files.remote.addresses import (
    below,
    checked_address,
    is_like_address,
    is_remote,
)
from gcnet_tf.files.remote.inputs import local_copy, require_safe
from gcnet_tf.files.results import new_result, require_place, write_result

PATHS = ("runs/a", "/data/x", "C:\\data\\x", "C:/data/x", "c:x", "a:b", "voc_r50_20k")
ADDRESSES = ("s3://bucket/run", "gs://bucket/a b/c", "abfs://box@account/x", "S3A://b")


@pytest.mark.parametrize("place", PATHS)
def test_a_path_is_no_address(place):
    assert not is_remote(place) and not is_like_address(place)
    assert checked_address(place, "--out") == place
    assert local_copy(place, "--image") == place


@pytest.mark.parametrize("place", ADDRESSES)
def test_an_address_is_one_as_text_alone(place):
    assert is_remote(place) and not is_remote(Path(place))
    assert is_like_address(place) and is_like_address(Path(place))
    assert checked_address(f"{place}/", "--out") == place
    assert below(place, "train") == f"{place}/train"


@pytest.mark.parametrize(
    "place, words",
    [
        ("s3:/bucket/run", "s3://BUCKET/NAME"),
        ("zip::s3://bucket/x", "s3://BUCKET/NAME"),
        ("s3://", "without a bucket"),
        ("file:///data/x", "leave out file://"),
        ("https://host/photo.jpg", "download it first"),
        ("s3://key:secret@bucket/x", "never part of an address"),
    ],
)
def test_what_is_nearly_an_address_is_refused_in_a_sentence(place, words):
    with pytest.raises(UserError, match=words) as caught:
        checked_address(place, "data.root")
    assert str(caught.value).startswith("data.root: received ")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/../b", "a//b", "", "a/./b", "/x", "a\0"])
def test_an_object_cannot_name_a_file_elsewhere(name):
    with pytest.raises(UserError, match="is none for a file"):
        require_safe(name, "s3://bucket")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: new_file(path).__enter__(),
        lambda path: new_folder(path).__enter__(),
        lambda path: new_result(path).__enter__(),
        lambda path: locked(path).__enter__(),
        require_place,
        lambda path: write_result(path, ""),
    ],
)
@pytest.mark.parametrize("place", ["gs://bucket/run", "s3:/bucket/x.json"])
def test_nothing_is_written_into_a_folder_named_as_a_scheme(
    write, place, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="received the address (s3|gs):/"):
        write(Path(place))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "setting",
    ["data.root", "data.records", "train.init_from", "model.backbone.pretrained"],
)
def test_each_path_of_a_configuration_may_be_an_address(setting):
    load_config("shapes_r18", [f"{setting}=gs://bucket/x"])
    load_config("shapes_r18", [f"{setting}=C:/data"])
    with pytest.raises(UserError, match=f"{setting}: received gs:/bucket"):
        load_config("shapes_r18", [f"{setting}=gs:/bucket/x"])


def test_a_further_source_may_be_at_an_address():
    also = 'data.also=[{"root": "%s"}]'
    classes = ["data.dataset=folder", 'data.classes=["a", "b"]']
    load_config("shapes_r18", [*classes, also % "s3://bucket/x"])
    with pytest.raises(UserError, match=r"data.also\[0\].root: received s3:/b"):
        load_config("shapes_r18", [*classes, also % "s3:/bucket/x"])


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UserError, match=r"--image: .*pip install 'gcnet_tf\[cloud\]'"):
        local_copy("s3://bucket/photo.jpg", "--image")
    with pytest.raises(UserError, match=r"pip install 'gcnet_tf\[cloud\]'"):
        load_config("gs://bucket/my.json")

"""The download of whole data sets, from a server with miniature ones."""

import collections
import dataclasses
import hashlib
import shutil

import pytest
from archives import folder_files, tar_bytes, zip_bytes
from file_server import FileServer
from helpers import make_sbd, make_voc_tree, random_image, random_label, save_image

from gcnet_tf.data.sources import official
from gcnet_tf.data.sources.folders import find_pairs
from gcnet_tf.data.sources.official import ARCHIVES, download_dataset
from gcnet_tf.errors import UserError


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Archives by file name, packed like the official ones."""
    folder = tmp_path_factory.mktemp("packed")
    voc = make_voc_tree(folder / "VOC2012")
    sbd = make_sbd(folder / "release" / "dataset", voc).parent
    shutil.rmtree(voc / "SegmentationClassAug")
    (voc / "ImageSets" / "Segmentation" / "aug.txt").unlink()
    for split in ("training", "validation"):
        name = f"ADE_{split}_00000001"
        images, labels = (folder / "ade" / k / split for k in ("images", "annotations"))
        save_image(images / f"{name}.jpg", random_image(0))
        save_image(labels / f"{name}.png", random_label(0, 150))
    voc_files = folder_files(voc, "VOCdevkit/VOC2012")
    sbd_files = folder_files(sbd, "benchmark_RELEASE")
    return {
        "VOCtrainval_11-May-2012.tar": tar_bytes(voc_files),
        "benchmark.tgz": tar_bytes(sbd_files, mode="w:gz"),
        "ADEChallengeData2016.zip": zip_bytes(
            folder_files(folder / "ade", "ADEChallengeData2016")
        ),
    }


@pytest.fixture
def server(contents, monkeypatch):
    """A server in place of all official ones."""
    files = {f"/{name}": file_bytes for name, file_bytes in contents.items()}
    with FileServer(files) as server:
        for dataset, archives in ARCHIVES.items():
            served = []
            for archive in archives:
                name = archive.url.rpartition("/")[2]
                digest = f"sha1:{hashlib.sha1(contents[name]).hexdigest()}"
                url, size = server.url(f"/{name}"), len(contents[name])
                served.append(
                    dataclasses.replace(archive, url=url, digest=digest, num_bytes=size)
                )
            monkeypatch.setitem(ARCHIVES, dataset, tuple(served))
        yield server


def test_addresses_and_hashes_look_right():
    archives = [archive for group in ARCHIVES.values() for archive in group]
    assert len(archives) == 3
    lengths = {"sha256": 64, "sha1": 40, "md5": 32}
    for archive in archives:
        algorithm, digits = archive.digest.split(":")
        assert len(digits) == lengths[algorithm]
        assert archive.url.startswith("http") and " " not in archive.url


def test_voc_and_sbd(server, tmp_path):
    root = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    download_dataset("voc12aug", root)
    assert len(find_pairs("voc12aug", root, "train")) == 5
    assert len(find_pairs("voc12aug", root, "val")) == 2
    names = sorted(path.name for path in root.parent.iterdir())
    assert names == ["VOC2012", "benchmark_RELEASE"]


def test_ade20k(server, tmp_path):
    download_dataset("ade20k", tmp_path / "ade")
    assert len(find_pairs("ade20k", tmp_path / "ade", "train")) == 1


def test_existing_folders_are_not_downloaded(server, tmp_path):
    root = tmp_path / "VOC2012"
    root.mkdir()
    download_dataset("voc12aug", root)
    assert [path for path, _ in server.requests] == ["/benchmark.tgz"]
    download_dataset("voc12aug", root)
    assert len(server.requests) == 1


def test_an_interrupted_download_goes_on(server, tmp_path):
    root = tmp_path / "ade"
    server.cuts, server.cut_after = 1, 1000
    server.ranges = True
    whole, server.files = server.files, dict(server.files)
    download_dataset("ade20k", root)
    assert [byte_range for _, byte_range in server.requests] == [None, "bytes=1000-"]
    assert whole == server.files and len(find_pairs("ade20k", root, "val")) == 1


def test_unpacking_goes_on_with_the_existing_archive(server, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(official, "extract_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            download_dataset("ade20k", tmp_path / "ade")
    assert (tmp_path / "ADEChallengeData2016.zip").is_file()
    download_dataset("ade20k", tmp_path / "ade")
    assert len(server.requests) == 1
    assert len(find_pairs("ade20k", tmp_path / "ade", "val")) == 1


def test_an_archive_of_the_users_own_stays(server, contents, tmp_path):
    name = "ADEChallengeData2016.zip"
    (tmp_path / name).write_bytes(contents[name])
    download_dataset("ade20k", tmp_path / "ade")
    assert not server.requests and (tmp_path / name).is_file()


def test_another_file_is_refused(server, tmp_path):
    server.files["/ADEChallengeData2016.zip"] = b"<html>Moved</html>"
    with pytest.raises(UserError, match="SHA-1 .* was expected; it was removed"):
        download_dataset("ade20k", tmp_path / "ade")
    assert list(tmp_path.iterdir()) == []


def test_too_little_space(server, tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10_000))
    with pytest.raises(UserError, match=r"needs about .* GB .* 0\.0 GB are free"):
        download_dataset("voc12aug", tmp_path / "VOC2012")
    assert not server.requests


@pytest.mark.parametrize(
    "dataset, words", [("cityscapes", "After registering"), ("folder", "your own")]
)
def test_other_data_sets_are_refused_with_instructions(
    server, tmp_path, dataset, words
):
    with pytest.raises(UserError, match="allowed: voc12aug, ade20k") as error:
        download_dataset(dataset, tmp_path / "x")
    assert words in str(error.value) and str(tmp_path / "x") in str(error.value)
    assert not server.requests

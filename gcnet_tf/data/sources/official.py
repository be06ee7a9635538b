"""The official archives of the published data sets: download and unpacking."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gcnet_tf.data.instructions import INSTRUCTIONS
from gcnet_tf.data.sources.pairs import SPLITS
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import partial_path
from gcnet_tf.files.download import download
from gcnet_tf.files.extract import extract_folder
from gcnet_tf.files.remote.addresses import require_local


@dataclass(frozen=True)
class Archive:
    """A file to download, and the folder to extract from it.

    Attributes:
        url: official address of the archive.
        num_bytes: size of the archive.
        digest: published hash of the archive, as `download` takes it.
        top: the folder in the archive that is extracted.
        folder: name of the extracted folder beside the data set's root; "" for the root
            itself.
        splits: the splits that need it.
    """

    url: str
    num_bytes: int
    digest: str
    top: str
    folder: str = ""
    splits: tuple[str, ...] = SPLITS


# The sizes and hashes come from other projects, because none of the three sites
# publishes any.
ARCHIVES = {
    "voc12aug": (
        # SHA-256: torchvision, Keras' examples.
        Archive(
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
            "VOCtrainval_11-May-2012.tar",
            1999639040,
            "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            "VOCdevkit/VOC2012",
        ),
        # SHA-1: GluonCV.
        Archive(
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
            "semantic_contours/benchmark.tgz",
            1419539633,
            "sha1:7129e0a480c2d6afb02b517bb18ac54283bfaa35",
            "benchmark_RELEASE",
            "benchmark_RELEASE",
            ("train",),
        ),
    ),
    "ade20k": (
        # SHA-1: GluonCV; the size is not confirmed.
        Archive(
            "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            967382037,
            "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
            "ADEChallengeData2016",
        ),
    ),
}

# Size of the unpacked files as a multiple of the archive, on the safe side: images take
# about the archive's size, labels more.
_UNPACKED = 1.5


def download_dataset(dataset: str, root: Path, splits: Sequence[str] = SPLITS) -> None:
    """Makes sure that a data set is at `root`; downloads its missing parts.

    The archives are beside `root` until they are unpacked. After an interruption, the
    next call continues from there.

    Args:
        dataset: name of the data set.
        root: its folder.
        splits: the splits that are needed.

    Raises:
        UserError: when the data set has no archive to download, when there is too
            little space, or when the download or the unpacking fails.
    """
    if dataset not in ARCHIVES:
        raise UserError(
            f"--download: received the data set {dataset}; allowed: "
            f"{', '.join(ARCHIVES)}.\n\n{INSTRUCTIONS[dataset].format(root=root)}"
        )
    require_local(root, "--download: data.root")
    root = root.absolute()
    missing = missing_archives(dataset, root, splits)
    root.parent.mkdir(parents=True, exist_ok=True)
    _require_space(root.parent, missing)
    for archive in missing:
        path = _file(root, archive)
        # An archive that the user put there must not be removed.
        is_ours = not path.exists()
        download(archive.url, path, archive.digest)
        extract_folder(path, archive.top, _folder(root, archive))
        if is_ours:
            path.unlink(missing_ok=True)


def missing_archives(
    dataset: str, root: Path, splits: Sequence[str] = SPLITS
) -> list[Archive]:
    """Lists the archives, of those that can be downloaded, whose folder is not there.

    Args:
        dataset, root, splits: as in `download_dataset`.
    """
    return [
        archive
        for archive in ARCHIVES.get(dataset, ())
        if not _folder(root.absolute(), archive).is_dir()
        and set(splits) & set(archive.splits)
    ]


def _folder(root: Path, archive: Archive) -> Path:
    return root.with_name(archive.folder) if archive.folder else root


def _file(root: Path, archive: Archive) -> Path:
    return root.with_name(archive.url.rpartition("/")[2])


def _require_space(folder: Path, archives: list[Archive]) -> None:
    """Checks that there is space for all archives and for their unpacked files.

    An archive, or the part of it that an interrupted download left, does not count.

    Raises:
        UserError: when there is too little space.
    """
    needed = sum(int(archive.num_bytes * (1 + _UNPACKED)) for archive in archives)
    for archive in archives:
        file = folder / archive.url.rpartition("/")[2]
        for path in (file, partial_path(file)):
            needed -= path.stat().st_size if path.is_file() else 0
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"--download needs about {needed / 1e9:.1f} GB in {folder}, but "
            f"{free / 1e9:.1f} GB are free. Free some space, or name another folder "
            "with --set data.root=FOLDER."
        )

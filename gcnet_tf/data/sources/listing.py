"""Pairs from two text files, which list the images and their labels."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

import numpy as np

from gcnet_tf.data.compact import Row, Rows, View, hashes
from gcnet_tf.data.sources.pairs import Pair, lines_of_files, paired
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import as_on_disk


def listed_pairs(images: Path, labels: Path) -> View[Pair]:
    """Pairs the lines of two text files.

    Args:
        images: text file with the path of an image per line, absolute or relative to
            the folder of the text file.
        labels: text file with the paths of the labels, in the same order.

    Returns:
        The pairs in that order. Their names are the images' file names without the
        ending or, where file names repeat, the images' paths without the ending.

    Raises:
        UserError: when a line is empty, repeated, or names no file (the message names
            the line), or when one list is longer than the other.
    """
    image_paths, label_paths = _read(images), _read(labels)
    if len(image_paths) != len(label_paths):
        raise UserError(
            f"{images} has {len(image_paths)} lines and {labels} has "
            f"{len(label_paths)}; each image needs its label on the same line."
        )
    name_of = _name_of(image_paths)
    repeated = _first_repeated(name_of(path) for path, in image_paths)

    def rows() -> Iterator[Row]:
        for number, lines in enumerate(zip(image_paths, label_paths), start=1):
            (image,), (label,) = lines
            name = name_of(image)
            if repeated and number == repeated[1]:
                raise UserError(
                    f"{images}, lines {repeated[0]} and {number}: both name the "
                    f"image {name}; list each image once, or rename one."
                )
            paths = [
                as_on_disk(images.parent / image),
                as_on_disk(labels.parent / label),
            ]
            for file, path in zip((images, labels), paths):
                if not path.is_file():
                    raise UserError(
                        f"{file}, line {number}: there is no file {path}; paths start "
                        "at the folder of the list."
                    )
            yield name, str(paths[0]), str(paths[1])

    return paired(Rows(rows()))


def _name_of(image_paths: Rows) -> Callable[[str], str]:
    """Returns the function that names an image: with its folder if it has to."""
    if _first_repeated(PurePath(path).stem for path, in image_paths):
        return lambda path: PurePath(path).with_suffix("").as_posix()
    return lambda path: PurePath(path).stem


def _first_repeated(names: Iterable[str]) -> tuple[int, int] | None:
    """Returns the numbers, from 1, of the first name that was there before."""
    hashed = hashes(names)
    order = np.argsort(hashed, kind="stable")
    hashed = hashed[order]
    again = np.flatnonzero(hashed[1:] == hashed[:-1]) + 1
    if not again.size:
        return None
    second = again[order[again].argmin()]
    return int(order[second - 1]) + 1, int(order[second]) + 1


def _read(path: Path) -> Rows:
    """Reads the lines of a list, without empty ones at its end."""
    lines, first_empty = Rows(), 0
    for number, line in enumerate(lines_of_files(path), start=1):
        if line and not first_empty:
            lines.append((line,))
        elif line:
            break
        else:
            first_empty = first_empty or number
    else:
        first_empty = 0 if lines else 1
    if first_empty:
        raise UserError(
            f"{path}, line {first_empty}: it is empty; each line must hold a path."
        )
    return lines

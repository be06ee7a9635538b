"""Pairs from two text files, which list the images and their labels."""

from pathlib import Path, PurePath

from gcnet_tf.data.sources.pairs import Pair, read_lines
from gcnet_tf.errors import UserError
from gcnet_tf.files.names import as_on_disk


def listed_pairs(images: Path, labels: Path) -> list[Pair]:
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
    stems = {PurePath(path).stem for path in image_paths}
    has_repeats = len(stems) < len(image_paths)
    pairs = []
    line_of: dict[str, int] = {}
    for line_number, lines in enumerate(zip(image_paths, label_paths), start=1):
        image, label = PurePath(lines[0]), PurePath(lines[1])
        name = image.with_suffix("").as_posix() if has_repeats else image.stem
        if name in line_of:
            raise UserError(
                f"{images}, lines {line_of[name]} and {line_number}: both name the "
                f"image {name}; list each image once, or rename one."
            )
        line_of[name] = line_number
        pair = Pair(
            name,
            as_on_disk(images.parent / image),
            as_on_disk(labels.parent / label),
        )
        for file, path in zip((images, labels), pair.files):
            if not path.is_file():
                raise UserError(
                    f"{file}, line {line_number}: there is no file {path}; paths start "
                    "at the folder of the list."
                )
        pairs.append(pair)
    return pairs


def _read(path: Path) -> list[str]:
    lines = read_lines(path, of_files=True)
    if not lines or "" in lines:
        line_number = lines.index("") + 1 if lines else 1
        raise UserError(
            f"{path}, line {line_number}: it is empty; each line must hold a path."
        )
    return lines

"""Pairs that two text files list: images in one, their labels in the other."""

from pathlib import Path, PurePath

from gcnet_tf.data.sources.pairs import Pair, read_lines
from gcnet_tf.errors import UserError


def listed_pairs(images: Path, labels: Path) -> list[Pair]:
    """Pairs line with line of two files.

    Args:
        images: a path per line, relative to this file's folder or absolute.
        labels: the same of the labels, in the same order.

    Returns:
        The pairs in that order. Their names are the images' file names without the
        ending, or where these repeat, the paths without it.

    Raises:
        UserError: naming the line that is empty, repeated, or of no file; or when one
            list is longer.
    """
    image_paths, label_paths = _read(images), _read(labels)
    if len(image_paths) != len(label_paths):
        raise UserError(
            f"{images} has {len(image_paths)} lines and {labels} has "
            f"{len(label_paths)}; each image needs its label in the same line."
        )
    stems = {PurePath(path).stem for path in image_paths}
    has_repeats = len(stems) < len(image_paths)
    pairs = []
    seen: dict[str, int] = {}
    for number, lines in enumerate(zip(image_paths, label_paths), start=1):
        image, label = PurePath(lines[0]), PurePath(lines[1])
        name = image.with_suffix("").as_posix() if has_repeats else image.stem
        if name in seen:
            raise UserError(
                f"{images}, lines {seen[name]} and {number}: both name the image "
                f"{name}; list each once, or rename one."
            )
        seen[name] = number
        found = Pair(name, images.parent / image, labels.parent / label)
        for file, path in ((images, found.image), (labels, found.label)):
            if not path.is_file():
                raise UserError(
                    f"{file}, line {number}: there is no file {path}; paths start at "
                    "the folder of the list."
                )
        pairs.append(found)
    return pairs


def _read(path: Path) -> list[str]:
    lines = read_lines(path)
    if not lines or "" in lines:
        number = lines.index("") + 1 if lines else 1
        raise UserError(f"{path}, line {number}: it is empty; give a path per line.")
    return lines

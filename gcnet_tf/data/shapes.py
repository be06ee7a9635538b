"""Seeded procedural images: the data set of the demo and of the tests.

Large textured shapes overlap on a textured background. A class is an outline together
with a pattern (triangles have stripes, squares have checks), at any angle, size and
period. The colours of shapes and background come from the same distribution, so that
the colour of a pixel says nothing about its class. Every image and its label are a pure
function of (seed, split, index).
"""

import dataclasses
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from gcnet_tf.data.catalog import IGNORE_LABEL
from gcnet_tf.errors import UserError
from gcnet_tf.files.atomic import new_folder

PARAMETERS_FILE = "shapes.json"


@dataclass(frozen=True)
class Recipe:
    """All constants of the generator; they are saved with the images.

    Lengths are shares of the image's side, colours are in 0..255.
    """

    version: int = 2  # to be increased when the code below draws other images
    num_shapes: tuple[int, int] = (2, 4)
    radius: tuple[float, float] = (0.2, 0.36)  # of the circle around a shape
    centre: tuple[float, float] = (0.12, 0.88)  # the range of both coordinates
    min_visible: float = 0.6  # share of each shape that is inside and not covered
    placement_tries: int = 50
    # Euclidean distance between the two colours that a texture mixes.
    contrast: tuple[float, float] = (90.0, 150.0)
    hue_contrast: float = 0.3  # 0: the two colours differ in brightness only
    # Least Euclidean distance between the mean colours of two textures in one image.
    min_colour_distance: float = 70.0
    pattern_period: tuple[float, float] = (0.05, 0.11)
    speckle_period: tuple[float, float] = (0.03, 0.045)
    background_period: tuple[float, float] = (0.25, 1.0)
    pixel_noise: float = 6.0  # standard deviation


RECIPE = Recipe()

# The set of configs/shapes_r18.json, which `make demo` generates.
DEMO_SET = {"num_train": 1000, "num_val": 120, "size": 128, "seed": 0}


def _regular_polygon(num_corners: int) -> np.ndarray:
    angles = np.arange(num_corners) * (2 * math.pi / num_corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _cross() -> np.ndarray:
    """Returns a plus sign in the unit circle whose arms are 0.36 of its length wide."""
    arm = 0.36
    corner = np.array([[1, -arm], [1, arm], [arm, arm]]) / math.hypot(1, arm)
    quarter_turn = np.array([[0, -1], [1, 0]])
    turns = [np.linalg.matrix_power(quarter_turn, n) for n in range(4)]
    return np.concatenate([corner @ turn.T for turn in turns])


def _star() -> np.ndarray:
    points = _regular_polygon(10)
    points[1::2] *= 0.45
    return points


# Outlines (corners, 2) as (x, y) inside the unit circle. The order is that of the
# classes 1.. in labels/shapes.json; class 0 is the background.
OUTLINES = {
    "circle": _regular_polygon(64),
    "square": _regular_polygon(4),
    "triangle": _regular_polygon(3),
    "cross": _cross(),
    "star": _star(),
}


def make_sample(
    seed: int, split: str, index: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image and its label.

    Args:
        seed: seed of the whole set.
        split: name of the split; two splits have different images at the same index.
        index: number of the image within its split, from 0 on.
        size: height and width in pixels.

    Returns:
        image: uint8 (size, size, 3) RGB.
        label: uint8 (size, size), 0 background, 1.. shapes, 255 on the outlines.
    """
    # crc32, because Python salts hash() of a string differently in every process.
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    classes, coverages, visible = _place_shapes(rng, size)
    means: list[np.ndarray] = []
    image = _paint(rng, _pattern(rng, "background", size), means)
    instances = np.zeros((size, size), np.uint8)
    for shape_number, coverage in enumerate(coverages, start=1):
        alpha = coverage[:, :, np.newaxis] / 255.0
        class_id = classes[shape_number - 1]
        kind = list(OUTLINES)[class_id - 1]
        texture = _paint(rng, _pattern(rng, kind, size), means)
        image = image * (1 - alpha) + texture * alpha
        instances[visible == shape_number] = class_id
    image += rng.normal(0, RECIPE.pixel_noise, (size, size, 1))
    label = np.where(_outline_pixels(visible), IGNORE_LABEL, instances)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), label.astype(np.uint8)


def _place_shapes(
    rng: np.random.Generator, size: int
) -> tuple[list[int], list[np.ndarray], np.ndarray]:
    """Places shapes over each other so that each stays visible for the larger part.

    Returns:
        The class of each shape; its anti-aliased coverage (size, size) in 0..255; and a
        map (size, size) of the visible shapes: the number of the shape, counted from 1,
        or 0 for none.
    """
    classes: list[int] = []
    coverages: list[np.ndarray] = []
    areas: list[int] = []
    visible = np.zeros((size, size), np.int32)
    num_shapes = rng.integers(RECIPE.num_shapes[0], RECIPE.num_shapes[1] + 1)
    for _ in range(RECIPE.placement_tries):
        kind = int(rng.integers(len(OUTLINES)))
        coverage, area = _draw(rng, list(OUTLINES.values())[kind], size)
        shape_number = len(classes) + 1
        candidate = np.where(coverage >= 128, shape_number, visible)
        counts = np.bincount(candidate.ravel(), minlength=shape_number + 1)[1:]
        if np.all(counts >= RECIPE.min_visible * np.array([*areas, area])):
            classes.append(kind + 1)
            coverages.append(coverage)
            areas.append(area)
            visible = candidate
        if len(classes) == num_shapes:
            break
    return classes, coverages, visible


def _draw(
    rng: np.random.Generator, outline: np.ndarray, size: int
) -> tuple[np.ndarray, int]:
    """Draws a shape at a random place, size and angle.

    Returns:
        Its coverage (size, size) in 0..255, and its area in pixels, which includes the
        part outside of the image.
    """
    radius = rng.uniform(*RECIPE.radius) * size
    centre = rng.uniform(*RECIPE.centre, size=2) * size
    angle = rng.uniform(0, 2 * math.pi)
    rotation = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    corners = (outline * radius) @ rotation.T + centre
    # `shift` is OpenCV's number of fractional bits in the coordinates. The canvas has
    # twice the side of the image, which is its middle.
    margin = size // 2
    fixed_point = np.rint((corners + margin) * 16).astype(np.int32)
    canvas = np.zeros((size + 2 * margin, size + 2 * margin), np.uint8)
    cv2.fillPoly(canvas, [fixed_point], 255, lineType=cv2.LINE_AA, shift=4)
    area = int(np.sum(canvas >= 128))
    return canvas[margin : margin + size, margin : margin + size], area


def _outline_pixels(visible: np.ndarray) -> np.ndarray:
    """Marks the last pixel on either side of each outline: a band of two pixels.

    Args:
        visible: int32 (size, size), number of the visible shape, 0 for none.

    Returns:
        bool (size, size).
    """
    band = np.zeros(visible.shape, bool)
    across = visible[:, 1:] != visible[:, :-1]
    down = visible[1:] != visible[:-1]
    band[:, 1:] |= across
    band[:, :-1] |= across
    band[1:] |= down
    band[:-1] |= down
    # The bands join where outlines meet or turn sharply. Clearing the middle of every
    # full 3x3 block keeps the band two pixels wide there, too.
    thick = cv2.erode(
        band.astype(np.uint8),
        np.ones((3, 3), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return band & (thick == 0)


def _paint(
    rng: np.random.Generator, pattern: np.ndarray, means: list[np.ndarray]
) -> np.ndarray:
    """Colours a pattern with two random colours.

    Args:
        rng: source of the colours.
        pattern: (size, size) in -1..1.
        means: mean colours of the textures painted so far. The new mean colour is far
            from all of them if possible, and is appended.

    Returns:
        float64 (size, size, 3).
    """
    # The two colours differ mostly in brightness and a little in hue.
    direction = rng.normal([1.0, 1.0, 1.0], RECIPE.hue_contrast)
    half = direction / np.linalg.norm(direction) * rng.uniform(*RECIPE.contrast) / 2
    # Dots and lines cover less than half of a texture. With a fixed sign, their classes
    # would be darker than the others on average.
    half *= rng.choice([-1.0, 1.0])
    for _ in range(100):
        mean = rng.uniform(np.abs(half), 255 - np.abs(half))
        distances = [float(np.linalg.norm(mean - other)) for other in means]
        if all(distance >= RECIPE.min_colour_distance for distance in distances):
            break
    means.append(mean)
    return mean + pattern[:, :, np.newaxis] * half


def _waves(
    rng: np.random.Generator, size: int, period: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns two crossing waves (size, size) in -1..1 at a random angle."""
    rows, columns = np.mgrid[:size, :size]
    angle = rng.uniform(0, math.pi)
    phase = rng.uniform(0, 2 * math.pi, size=2)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    across = rows * math.cos(angle) - columns * math.sin(angle)
    scale = 2 * math.pi / (rng.uniform(*period) * size)
    return np.sin(along * scale + phase[0]), np.sin(across * scale + phase[1])


def _blobs(
    rng: np.random.Generator, size: int, period: tuple[float, float]
) -> np.ndarray:
    """Returns smooth random blobs (size, size) in -1..1."""
    cells = max(2, math.ceil(1 / rng.uniform(*period)))
    coarse = rng.uniform(-1, 1, size=(cells, cells))
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(-1, 1)


def _pattern(rng: np.random.Generator, kind: str, size: int) -> np.ndarray:
    """Returns the pattern (size, size) of a class.

    It consists of -1 and 1; that of "background" has values in between, too.
    """
    if kind == "background":
        return _blobs(rng, size, RECIPE.background_period)
    along, across = _waves(rng, size, RECIPE.pattern_period)
    pattern = {
        "circle": lambda: along + across - 0.6,  # dots
        "square": lambda: along * across,  # checks
        "triangle": lambda: along,  # stripes
        "cross": lambda: np.maximum(along, across) - 0.8,  # a grid of lines
        "star": lambda: _blobs(rng, size, RECIPE.speckle_period),
    }[kind]()
    return np.where(pattern > 0, 1.0, -1.0)


def generate_shapes(
    root: str | Path,
    *,
    num_train: int,
    num_val: int,
    size: int,
    seed: int,
    progress: bool = False,
) -> None:
    """Writes a set in the `folder` layout: root/{train,val}/{images,labels}/NAME.png.

    Nothing happens when the same set exists. A set with other parameters is replaced; a
    folder that this function did not write is refused. The set appears under `root`
    complete or not at all.

    Args:
        root: folder of the set.
        num_train: number of training images.
        num_val: number of validation images.
        size: height and width of the images in pixels, at least 32.
        seed: seed of the whole set.
        progress: shows a progress bar.

    Raises:
        UserError: when `root` holds anything else, or a number is out of range.
    """
    if size < 32 or num_train < 1 or num_val < 1:
        raise UserError(
            f"Cannot generate shapes with size {size}, num_train {num_train}, num_val "
            f"{num_val}; allowed: a size of at least 32 and numbers of at least 1."
        )
    root = Path(root)
    num_images = {"train": num_train, "val": num_val}
    parameters = {"numbers": num_images, "size": size, "seed": seed}
    text = json.dumps(parameters | {"recipe": dataclasses.asdict(RECIPE)}, indent=2)
    if _saved_parameters(root) == text:
        return
    hidden = None if progress else True
    bar = tqdm(total=num_train + num_val, unit="image", desc="shapes", disable=hidden)
    with bar, new_folder(root) as partial:
        for split, num_samples in num_images.items():
            _write_split(partial / split, split, num_samples, size, seed, bar)
        (partial / PARAMETERS_FILE).write_text(text, encoding="utf-8")


def _write_split(
    folder: Path, split: str, num_samples: int, size: int, seed: int, bar: tqdm
) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for index in range(num_samples):
        image, label = make_sample(seed, split, index, size)
        name = f"{split}_{index:05d}.png"
        Image.fromarray(image).save(folder / "images" / name, compress_level=1)
        Image.fromarray(label).save(folder / "labels" / name)
        bar.update()


def _saved_parameters(root: Path) -> str | None:
    """Returns the text of the parameters file; None when there is no set yet.

    Raises:
        UserError: when `root` holds anything else.
    """
    file = root / PARAMETERS_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(
            f"{root} exists and is not a generated shapes set (it has no "
            f"{PARAMETERS_FILE}); move it away or name another folder in data.root."
        )
    return None

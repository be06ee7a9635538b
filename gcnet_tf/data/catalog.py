"""Facts about each data set: classes, colours, ids in the labels, sizes of the splits.

The number of classes is defined here alone; the configuration only names a data set.
Source of the facts and colours: docs/reference.md, sections 5.6 and 7.1.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from gcnet_tf.config import DataConfig
from gcnet_tf.config.schema_data import TAKE_CLASSES
from gcnet_tf.data.instructions import INSTRUCTIONS
from gcnet_tf.errors import UserError

IGNORE_LABEL = 255
NOT_ALLOWED = -1

_LABELS_FOLDER = Path(__file__).parent / "labels"


@dataclass(frozen=True)
class DatasetFacts:
    """The facts about a data set that do not depend on its place on the disk.

    Attributes:
        name: name of the data set, as in the configuration's data.dataset.
        classes: names of the classes in the order of the training ids
            0..num_classes-1.
        palette: one (red, green, blue) in 0..255 per class. Colours may repeat, as in
            ADE20K, so that a colour does not identify its class.
        num_images: known number of images by split; empty when unknown.
        label_map: training id for each of the 256 ids in a label file, IGNORE_LABEL
            for an id to ignore, NOT_ALLOWED for an id to refuse. None: the files hold
            training ids 0..num_classes-1 and IGNORE_LABEL already.
        label_colours: for colour-coded labels: the (red, green, blue) that stand for
            the ids 0, 1, ... in the label files.
        instructions: what to download, where to put it and what to run next, for
            `str.format(root=..., quoted_root=...)`.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    instructions: str
    num_images: dict[str, int] = field(default_factory=dict)
    label_map: tuple[int, ...] | None = None
    label_colours: tuple[tuple[int, int, int], ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def id_map(self) -> tuple[int, ...]:
        """The map from file ids to training ids, also where `label_map` is None."""
        if self.label_map is not None:
            return self.label_map
        return (
            *range(self.num_classes),
            *[NOT_ALLOWED] * (IGNORE_LABEL - self.num_classes),
            IGNORE_LABEL,
        )


def dataset_facts(
    dataset: str,
    classes: Sequence[str] = (),
    palette: Sequence[tuple[int, int, int]] = (),
) -> DatasetFacts:
    """Returns the facts about a data set.

    Args:
        dataset: voc12aug, ade20k, cityscapes, shapes, folder, labelme or cvat.
        classes: only for the last three: class names in the order of their ids.
        palette: only for these: one colour per class, or empty for automatic colours.

    Raises:
        UserError: when the data set is unknown, or classes or palette do not fit it.
    """
    if dataset in TAKE_CLASSES:
        return _own_facts(dataset, tuple(classes), tuple(palette))
    if dataset not in INSTRUCTIONS:
        known = ", ".join(INSTRUCTIONS)
        raise UserError(f'dataset: received "{dataset}"; allowed: one of {known}.')
    if classes or palette:
        raise UserError(
            f"data.classes and data.palette: received values, but {dataset} brings its "
            "own classes and colours; leave them out."
        )
    known_classes, known_palette = _read_labels(dataset)
    return DatasetFacts(
        name=dataset,
        classes=known_classes,
        palette=known_palette,
        instructions=INSTRUCTIONS[dataset],
        num_images=dict(_NUM_IMAGES.get(dataset, {})),
        label_map=_LABEL_MAPS.get(dataset),
    )


def facts_of(data: DataConfig) -> DatasetFacts:
    """Returns the facts about the data set of a configuration, with its label map.

    Raises:
        UserError: as `dataset_facts`; or when data.label_map maps to a class that does
            not exist.
    """
    facts = dataset_facts(data.dataset, data.classes, data.palette)
    return remapped(facts, data.label_map, "data.label_map")


def remapped(
    facts: DatasetFacts, pairs: Sequence[tuple[int, int]], setting: str
) -> DatasetFacts:
    """Returns `facts` with another mapping for some ids of the label files.

    Args:
        facts: the facts to change.
        pairs: pairs (id in a label file, training id or IGNORE_LABEL).
        setting: path of the pairs in the configuration, for the message.

    Raises:
        UserError: when a training id is not that of a class.
    """
    if not pairs:
        return facts
    label_map = list(facts.id_map)
    for file_id, class_id in pairs:
        if class_id != IGNORE_LABEL and class_id >= facts.num_classes:
            raise UserError(
                f"{setting}: received the class id {class_id} for the id {file_id}; "
                f"allowed: 0..{facts.num_classes - 1}, and {IGNORE_LABEL} for not "
                "labelled."
            )
        label_map[file_id] = class_id
    return replace(facts, label_map=tuple(label_map))


def automatic_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Returns distinct colours for 1 to 256 classes, made of the ids' bits as in VOC.

    Bit 3k of the id becomes bit 7-k of red, bit 3k+1 of green, bit 3k+2 of blue, so
    that neighbouring ids look different and id 0 is black.
    """
    return tuple(
        (_every_third_bit(i), _every_third_bit(i >> 1), _every_third_bit(i >> 2))
        for i in range(num_classes)
    )


def _every_third_bit(bits: int) -> int:
    """Returns a number whose bits 7, 6, 5 are the bits 0, 3, 6 of `bits`."""
    return sum((bits >> (3 * k) & 1) << (7 - k) for k in range(3))


def _own_facts(
    dataset: str, classes: tuple[str, ...], palette: tuple[tuple[int, int, int], ...]
) -> DatasetFacts:
    if not classes:
        raise UserError(
            f"data.classes: received no names; dataset '{dataset}' needs them in the "
            "order of the ids in the label images."
        )
    if palette and len(palette) != len(classes):
        raise UserError(
            f"data.palette: received {len(palette)} colours for {len(classes)} "
            "classes; give one per class, or none for automatic colours."
        )
    return DatasetFacts(
        name=dataset,
        classes=classes,
        palette=palette or automatic_palette(len(classes)),
        instructions=INSTRUCTIONS[dataset],
    )


@cache
def _read_labels(
    dataset: str,
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    path = _LABELS_FOLDER / f"{dataset}.json"
    labels = json.loads(path.read_text(encoding="utf-8"))
    palette = tuple((red, green, blue) for red, green, blue in labels["palette"])
    return tuple(labels["classes"]), palette


_NUM_IMAGES = {
    "voc12aug": {"train": 10582, "val": 1449},
    "ade20k": {"train": 20210, "val": 2000},
    "cityscapes": {"train": 2975, "val": 500},
}

# ADE20K files hold 0 for "other" and 1..150 for the classes. The reference subtracts 1
# in 8-bit arithmetic and keeps 255 as it is.
_ADE20K_MAP = tuple(
    IGNORE_LABEL if k in (0, 255) else k - 1 if k <= 150 else NOT_ALLOWED
    for k in range(256)
)

_LABEL_MAPS = {"ade20k": _ADE20K_MAP}

# Ids of the classes in *_labelIds.png, in the order of the training ids; the test
# server takes these ids, too. *_labelTrainIds.png hold training ids already. All other
# ids up to 33 are ignored, and so is the licence plate, whose id -1 is 255 in 8 bits.
CITYSCAPES_IDS = (
    *(7, 8, 11, 12, 13, 17, 19, 20, 21, 22),
    *(23, 24, 25, 26, 27, 28, 31, 32, 33),
)
CITYSCAPES_ID_MAP = tuple(
    (
        CITYSCAPES_IDS.index(k)
        if k in CITYSCAPES_IDS
        else IGNORE_LABEL if k <= 33 or k == 255 else NOT_ALLOWED
    )
    for k in range(256)
)

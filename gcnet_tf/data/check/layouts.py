"""The layouts that make_config knows, and what shows that a folder has one of them."""

from collections.abc import Callable
from pathlib import Path

from gcnet_tf.data.instructions import LAYOUT_TEXTS
from gcnet_tf.data.sources.annotation_tools import NAMES_FILES
from gcnet_tf.data.sources.arranged import beside_places, folder_places, list_place
from gcnet_tf.data.sources.exports.coco import coco_reason
from gcnet_tf.data.sources.exports.label_studio import label_studio_reason
from gcnet_tf.data.sources.exports.labelme_json import labelme_reason
from gcnet_tf.data.sources.exports.roboflow import roboflow_reason
from gcnet_tf.data.sources.exports.supervisely import supervisely_reason
from gcnet_tf.data.sources.exports.yolo import yolo_reason
from gcnet_tf.data.sources.files import label_files
from gcnet_tf.errors import UserError


def _tool_reason(dataset: str) -> Callable[[Path], str | None]:
    def reason(root: Path) -> str | None:
        file = NAMES_FILES[dataset]
        has_masks = any(root.glob("SegmentationClass*"))
        return f"{file} beside masks" if has_masks and (root / file).is_file() else None

    return reason


def _folder_reason(root: Path) -> str | None:
    for images, labels in folder_places(root).values():
        if images.is_dir() and labels.is_dir() and label_files(labels):
            return (
                f"{images.relative_to(root)}/ and {labels.relative_to(root)}/ with PNGs"
            )
    return None


def _beside_reason(root: Path) -> str | None:
    for folder, _ in beside_places(root).values():
        _, labels = list_place(folder, folder)
        for path in labels.values():
            return f"{path.relative_to(root)} beside its image"
    return None


# What shows that a folder has a layout; the more telling layouts come first.
_REASONS: dict[str, Callable[[Path], str | None]] = {
    "labelme": _tool_reason("labelme"),
    "cvat": _tool_reason("cvat"),
    "roboflow": roboflow_reason,
    "supervisely": supervisely_reason,
    "coco": coco_reason,
    "label_studio": label_studio_reason,
    "labelme_json": labelme_reason,
    "yolo": yolo_reason,
    "folder": _folder_reason,
    "beside": _beside_reason,
}
LAYOUTS = tuple(_REASONS)


def layouts_text() -> str:
    """Returns the list of all layouts."""
    width = max(map(len, LAYOUTS)) + 2
    lines = [f"  {name:<{width}}{LAYOUT_TEXTS[name]}" for name in LAYOUTS]
    return "\n".join(["Known layouts:", *lines])


def find_layout(root: Path) -> tuple[str, str, list[str]]:
    """Returns a folder's layout, its reason, and others that the folder may have.

    Raises:
        UserError: when it has none of them.
    """
    reasons: dict[str, str] = {}
    for name, reason_of in _REASONS.items():
        try:
            reason = reason_of(root)
        except UserError:
            continue  # the reader of the chosen layout says what is wrong
        if reason:
            reasons[name] = reason
    if not reasons:
        raise UserError(
            f"{root} has none of the known layouts; choose the one it should have with "
            f"--layout to see what is missing.\n{layouts_text()}"
        )
    first, *others = reasons
    # A mask is always beside its image in these.
    implied = {"roboflow": {"beside"}, "labelme": {"folder"}, "cvat": {"folder"}}
    others = [name for name in others if name not in implied.get(first, ())]
    return first, reasons[first], others

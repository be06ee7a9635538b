"""Checks of settings against each other, after each has been checked alone."""

import os

from gcnet_tf.config.context import CONTEXT_SETTINGS, NO_BLOCK
from gcnet_tf.config.schema import (
    MOBILE,
    BackboneConfig,
    Config,
    ContextConfig,
    ModelConfig,
)
from gcnet_tf.config.schema_data import TAKE_CLASSES, AugmentConfig, DataConfig
from gcnet_tf.config.schema_training import EvaluationConfig
from gcnet_tf.config.validate_training import validate_train
from gcnet_tf.config.values import ObjectConfig, require
from gcnet_tf.files.address import is_address
from gcnet_tf.files.remote.addresses import checked_address

# Labels are 8-bit images, in which 255 means "not labelled".
MAX_CLASSES = 255
NO_PATH = (
    "a text that no file system takes as a path; allowed: names of up to 255 bytes, "
    "4095 in all"
)


def validate(config: Config) -> None:
    """Checks the settings against each other.

    Raises:
        UserError: when two settings contradict each other; the message names them, what
            was received and what is allowed.
    """
    _validate_model(config.model)
    _validate_data(config.data)
    _validate_augment(config.augment)
    validate_train(config.train)
    _validate_places(config)
    _validate_evaluation(config.evaluation)
    _validate_objects(config)


def _validate_model(model: ModelConfig) -> None:
    _validate_architecture(model.backbone)
    require(
        model.backbone.base_channels % 2 == 0,
        f"model.backbone.base_channels: received {model.backbone.base_channels}; "
        "allowed: an even number, because the stem starts with half of it",
    )
    _validate_context(model.head.context, "model.head.context")
    _validate_width(model.head.context, model.head.channels, "model.head")
    _validate_backbone_context(model.backbone)


def _validate_places(config: Config) -> None:
    """Checks that what looks like an address is one that can be used."""
    pretrained = config.model.backbone.pretrained
    places = {
        "data.root": config.data.root,
        "data.records": config.data.records,
        "train.init_from": config.train.init_from,
        # Those of the web are downloaded.
        "model.backbone.pretrained": (
            None if is_address(pretrained or "") else pretrained
        ),
    }
    for index, source in enumerate(config.data.also):
        places[f"data.also[{index}].root"] = source.root
    for where, place in places.items():
        checked_address(place or "", where)


def _validate_architecture(backbone: BackboneConfig) -> None:
    """Checks that no setting of another architecture is changed."""
    if backbone.architecture in MOBILE:
        unused: tuple[str, ...] = ("depth", "base_channels")
    else:
        unused = ("width",)
    for name in unused:
        default = getattr(BackboneConfig, name)
        received = getattr(backbone, name)
        require(
            received == default,
            f"model.backbone.{name}: received {received}, but {backbone.architecture} "
            "has no such setting; leave it out",
        )
    require(
        backbone.architecture != "resnet_vd" or backbone.pretrained is None,
        f"model.backbone.pretrained: received {backbone.pretrained}, but no reader of "
        "weights for resnet_vd is here; allowed: null. A whole model that was trained "
        "with this package goes into train.init_from",
    )


def _validate_backbone_context(backbone: BackboneConfig) -> None:
    context, where = backbone.context, "model.backbone.context"
    _validate_context(context, where)
    if context.block == NO_BLOCK:
        return
    require(
        backbone.architecture not in MOBILE,
        f"{where}.block: received {context.block}, but {backbone.architecture} has no "
        f"place for it; allowed: {NO_BLOCK}",
    )
    require(
        backbone.depth >= 50,
        f"{where}.block: received {context.block} with model.backbone.depth = "
        f"{backbone.depth}, whose units have no bottleneck; allowed: depth 50 or 101",
    )
    require(
        0 < len(context.stages) == len(set(context.stages)),
        f"{where}.stages: received {list(context.stages)}; allowed: some of 1, 2, 3 "
        "and 4, each once",
    )
    narrowest = 4 * backbone.base_channels * 2 ** (min(context.stages) - 1)
    _validate_width(context, narrowest, "model.backbone")


def _validate_context(context: ContextConfig, where: str) -> None:
    allowed = CONTEXT_SETTINGS[context.block]
    given = context.given()
    for name in given:
        require(
            name in allowed,
            f"{where}.{name}: received {given[name]}, but the block {context.block} "
            f"has no such setting, it has {', '.join(allowed) or 'none'}; use null to "
            "leave a setting out",
        )
    require(
        "ratio" not in given or context.transform != "linear",
        f"{where}.ratio: received {context.ratio}, but the transform linear has no "
        "bottleneck; use null to leave it out",
    )
    require(
        "use_scale" not in given or context.mode in (None, "embedded_gaussian"),
        f"{where}.use_scale: received {context.use_scale}, but only the mode "
        f"embedded_gaussian uses it, and the mode is {context.mode}; use null to leave "
        "it out",
    )
    fusions = context.fusions or ()
    require(
        context.fusions is None or 0 < len(fusions) == len(set(fusions)),
        f"{where}.fusions: received {list(fusions)}; "
        "allowed: channel_add, channel_mul or both, each once",
    )


def _validate_width(context: ContextConfig, channels: int, where: str) -> None:
    """Checks that the ratio leaves a channel to the bottleneck; nl always has one."""
    settings = {**CONTEXT_SETTINGS[context.block], **context.given()}
    if context.block not in ("gc", "se") or context.transform == "linear":
        return
    require(
        int(settings["ratio"] * channels) >= 1,
        f"{where}.context.ratio: received {settings['ratio']:g}, which leaves none of "
        f"the {channels} channels to the bottleneck; allowed: at least "
        f"{1 / channels:.4g}",
    )


def _validate_data(data: DataConfig) -> None:
    for name, folder in (("root", data.root), ("records", data.records)):
        require(
            folder.strip() != "", f'data.{name}: received ""; allowed: a folder\'s path'
        )
        require(can_be_path(folder), f"data.{name}: received {NO_PATH}")
    _validate_label_map(data.label_map, "data")
    for index, source in enumerate(data.also):
        where = f"data.also[{index}]"
        require(
            source.root.strip() != "", f'{where}.root: received ""; allowed: a folder'
        )
        require(can_be_path(source.root), f"{where}.root: received {NO_PATH}")
        require(
            0 < len(source.splits) == len(set(source.splits)),
            f"{where}.splits: received {list(source.splits)}; "
            "allowed: train, val or both, each once",
        )
        _validate_label_map(source.label_map, where)
    _validate_classes(data)


def _validate_label_map(pairs: tuple[tuple[int, int], ...], where: str) -> None:
    file_ids = [file_id for file_id, _ in pairs]
    for index, file_id in enumerate(file_ids):
        require(
            file_ids.index(file_id) == index,
            f"{where}.label_map: received two pairs for the id {file_id}; "
            "allowed: one pair for each id",
        )


def _validate_classes(data: DataConfig) -> None:
    if data.dataset not in TAKE_CLASSES:
        require(
            not data.classes and not data.palette,
            "data.classes and data.palette: received values, but only the datasets "
            f"{', '.join(TAKE_CLASSES)} take them; leave them out, {data.dataset} "
            "brings its own",
        )
        return
    require(
        2 <= len(data.classes) <= MAX_CLASSES,
        f"data.classes: received {len(data.classes)} names; dataset '{data.dataset}' "
        f"needs 2 to {MAX_CLASSES}, in the order of the ids in the label images",
    )
    for index, name in enumerate(data.classes):
        require(
            name.strip() != "",
            f'data.classes[{index}]: received "{name}"; allowed: a visible name',
        )
        first = data.classes.index(name)
        require(
            first == index,
            f'data.classes: received "{name}" for the ids {first} and {index}; '
            "give each class its own name",
        )
    require(
        len(data.palette) in (0, len(data.classes)),
        f"data.palette: received {len(data.palette)} colours for {len(data.classes)} "
        "classes; give one per class, or none for automatic colours",
    )


def _validate_augment(augment: AugmentConfig) -> None:
    low, high = augment.ratio_range
    require(
        low <= high,
        f"augment.ratio_range: received [{low}, {high}]; "
        "allowed: the smaller factor first",
    )
    require(
        int(min(augment.base_scale) * low) >= 1,
        f"augment.base_scale: received {list(augment.base_scale)}, which the factor "
        f"{low} of augment.ratio_range shrinks to nothing; raise one of the two",
    )
    require(
        augment.photometric_distortion or not augment.photometric_on_device,
        "augment.photometric_on_device: received true, but "
        "augment.photometric_distortion is false; set both to true, or leave out "
        "augment.photometric_on_device",
    )
    for name in ("rotation", "blur", "grey", "cut_out", "class_mix", "copy_paste"):
        received = getattr(augment, name)
        require(
            not received or not augment.photometric_on_device,
            f"augment.{name}: received {received}, which comes after the colours, and "
            "augment.photometric_on_device changes these last; leave one of them out",
        )
    require(
        augment.class_mix + augment.copy_paste <= 1,
        f"augment.copy_paste: received {augment.copy_paste}; with augment.class_mix, "
        f"which is {augment.class_mix}, allowed: at most 1 together",
    )


def _validate_objects(config: Config) -> None:
    for where, named_object in named_objects(config).items():
        require(
            named_object.class_name.strip() != "",
            f'{where}.class_name: received ""; allowed: the name of a class',
        )
    train = config.train
    require(
        not train.metrics or train.strategy != "multi_worker",
        "train.metrics: received metrics with train.strategy = multi_worker, under "
        "which each worker evaluates only a part of the images; leave them out",
    )


def named_objects(config: Config) -> dict[str, ObjectConfig]:
    """Returns every object that the configuration names, by its dotted path."""
    train = config.train
    single = {
        "model.head.context_layer": config.model.head.context_layer,
        "augment.layer": config.augment.layer,
        "train.optimizer": train.optimizer,
        "train.loss": train.loss,
    }
    objects = {path: item for path, item in single.items() if item is not None}
    for name, items in (("metrics", train.metrics), ("callbacks", train.callbacks)):
        objects |= {f"train.{name}[{i}]": item for i, item in enumerate(items)}
    return objects


def _validate_evaluation(evaluation: EvaluationConfig) -> None:
    require(
        len(evaluation.ratios) > 0
        and int(min(evaluation.scale) * min(evaluation.ratios)) >= 1,
        f"evaluation.ratios: received {list(evaluation.ratios)}; allowed: one or more, "
        f"none of which shrinks evaluation.scale, {list(evaluation.scale)}, to nothing",
    )
    require(
        all(s <= w for s, w in zip(evaluation.stride, evaluation.window)),
        f"evaluation.stride: received {list(evaluation.stride)}; allowed: at most "
        f"evaluation.window, which is {list(evaluation.window)}, because otherwise no "
        "window covers the pixels between two windows",
    )


def can_be_path(text: str) -> bool:
    """Tells whether a text is short enough for a path, and holds no null character."""
    encoded = os.fsencode(text)
    longest = max(map(len, encoded.split(b"/")))
    return longest <= 255 and len(encoded) < 4096 and b"\0" not in encoded

"""The text of a model card, for people: no figure that was not measured."""

import re
from collections.abc import Iterable, Iterator, Sequence

from gcnet_tf.data.catalog import facts_of
from gcnet_tf.export.card.facts import CardFacts
from gcnet_tf.runtime.protocol import Protocol

# The classes with the smallest IoU that the limits name.
_WORST = 3
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def card_text(facts: CardFacts) -> str:
    """Writes everything after the front matter, in Markdown."""
    sections = [
        _opening(facts),
        _run(facts),
        _files(facts),
        _classes(facts),
        _data(facts),
        _metrics(facts),
        _limits(facts),
        _made(facts),
    ]
    return "\n".join("\n".join(section) + "\n" for section in map(list, sections))


def plain(text: str) -> str:
    """Escapes what Markdown or HTML would take for more than text."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _opening(facts: CardFacts) -> Iterator[str]:
    model = facts.config.model
    backbone = str(model.backbone.architecture)
    if "resnet" in backbone:
        backbone += f" of depth {model.backbone.depth}"
    yield f"# {plain(facts.name)}"
    yield ""
    yield (
        f"Semantic segmentation: each pixel of a photo gets one of "
        f"{facts_of(facts.config.data).num_classes} classes. A head with the context "
        f"block `{model.head.context.block}` (GCNet, arXiv 1904.11492) on {backbone}, "
        f"trained and exported with gcnet_tf. The trained model has "
        f"{facts.num_parameters:,} parameters with its auxiliary head, which exports "
        "leave out."
    )


def _run(facts: CardFacts) -> Iterator[str]:
    yield "## How to run it"
    yield ""
    name = next(iter(facts.files))
    yield "```python"
    yield "import gcnet_tf"
    yield ""
    yield f'result = gcnet_tf.load("{name}").predict("photo.jpg")'
    yield 'result.save("out")    # class ids, and an overlay with a legend'
    yield "```"
    yield ""
    yield "A file and its `.json` belong together. In other programs:"
    yield ""
    usages: dict[str, list[str]] = {}
    for file, manifest in facts.files.items():
        usages.setdefault(manifest.usage, []).append(f"`{file}`")
    for usage, files in usages.items():
        yield f"- {', '.join(files)}: {plain(usage)}"


def _files(facts: CardFacts) -> Iterator[str]:
    yield "## Files"
    yield ""
    accuracies = [m.accuracy for m in facts.files.values() if m.accuracy]
    if accuracies:
        first = accuracies[0]
        yield (
            f"Beside the trained Keras model, over {first['images']} images of "
            f"`{first['split']}` at the files' own input size: the share of equal "
            "pixels, and the mIoU of the file and of the Keras model."
        )
    else:
        yield "Their accuracy beside the trained model was not measured."
    yield ""
    rows = []
    for file, manifest in facts.files.items():
        accuracy = manifest.accuracy
        size = "any" if manifest.size is None else "{}x{}".format(*manifest.size)
        measured = ["", "", ""]
        if accuracy:
            measured = [
                f"{accuracy['agreement']:.3%}",
                f"{accuracy['miou']:.4f}",
                f"{accuracy['keras_miou']:.4f}",
            ]
        megabytes = f"{facts.megabytes[file]:.1f}"
        rows.append([f"`{file}`", manifest.precision, size, megabytes, *measured])
    head = ["file", "precision", "input (height x width)", "MB", "equal pixels"]
    yield from _table([*head, "mIoU", "mIoU of Keras"], rows)


def _classes(facts: CardFacts) -> Iterator[str]:
    known = facts_of(facts.config.data)
    ious = facts.metrics.get("classes", {})
    yield "## Classes"
    yield ""
    rows = []
    for index, (name, colour) in enumerate(zip(known.classes, known.palette)):
        iou = (ious.get(name) or {}).get("IoU")
        measured = "" if iou is None else f"{iou:.4f}"
        hexadecimal = "#{:02x}{:02x}{:02x}".format(*colour)
        rows.append([str(index), plain(name), f"`{hexadecimal}`", measured])
    yield from _table(["id", "class", "colour", "IoU (val)"], rows)


def _data(facts: CardFacts) -> Iterator[str]:
    train, augment = facts.config.train, facts.config.augment
    yield "## Data and training"
    yield ""
    counts = [f"{count} images of {split}" for split, count in facts.num_images.items()]
    known = f": {', '.join(counts)}" if counts else "; the number of images is not here"
    yield f"- data set `{plain(facts.config.data.dataset)}`{known}"
    yield (
        f"- {train.iterations} iterations of {train.batch_size} crops of "
        f"{augment.crop_size[0]}x{augment.crop_size[1]} (height x width) by the "
        f"configuration, learning rate {train.learning_rate}"
    )
    start = train.init_from or facts.config.model.backbone.pretrained
    yield f"- started from {f'`{start}`' if start else 'random weights'}"


def _metrics(facts: CardFacts) -> Iterator[str]:
    yield "## Metrics"
    yield ""
    metrics = facts.metrics
    if not metrics:
        yield "No metrics of a whole validation set are known to this export."
        return
    yield (
        f"Over the validation images at their original sizes, at iteration "
        f"{metrics['iteration']}, whose weights these are:"
    )
    yield ""
    names = {"mIoU": "mean IoU", "mAcc": "mean accuracy", "aAcc": "pixel accuracy"}
    measured = [name for name in names if metrics.get(name) is not None]
    yield from _table(
        [f"{names[name]} ({name})" for name in measured],
        [[f"{metrics[name]:.4f}" for name in measured]],
    )


def _limits(facts: CardFacts) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield (
        "- Every pixel gets one of the classes above, whatever the photo shows: there "
        "is no answer for things that the model has never seen."
    )
    yield (
        "- What was measured is the validation set of this data. Other cameras, "
        "places, seasons and light were not. Nothing here measures what errors cost, "
        "or whom they meet."
    )
    yield "- Probabilities sum to 1; whether they are calibrated was not measured here."
    manifest = next(iter(facts.files.values()))
    if Protocol.from_settings(manifest.protocol).mode != "tiled":
        long, short = sorted(facts.config.evaluation.scale, reverse=True)
        yield (
            f"- Photos are scaled to sides of at most {long} and {short} pixels: "
            "what is smaller than a few pixels there cannot be found."
        )
    ious = facts.metrics.get("classes", {})
    known = {name: v["IoU"] for name, v in ious.items() if v["IoU"] is not None}
    if len(known) > 1:
        worst = sorted(known, key=known.__getitem__)[:_WORST]
        texts = ", ".join(f"{plain(name)} ({known[name]:.4f})" for name in worst)
        yield f"- The classes with the smallest IoU: {texts}."
    if missing := ", ".join(plain(name) for name in ious if name not in known):
        yield f"- Not in the validation images, so never measured: {missing}."


def _made(facts: CardFacts) -> Iterator[str]:
    manifest = next(iter(facts.files.values()))
    versions: dict[str, str] = {}
    for other in facts.files.values():
        versions |= other.versions
    pairs = [f"{name} {version}" for name, version in sorted(versions.items())]
    yield "## Made with"
    yield ""
    yield f"{', '.join(pairs)}. SHA-256 of the weights: `{manifest.weights_sha256}`."
    yield ""
    yield (
        "The licence of the weights is not known to gcnet_tf: it depends on the data. "
        "State it in the front matter. The code of gcnet_tf is under Apache-2.0."
    )

"""The parts that all formats share: replacing of old exports, and manifests."""

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gcnet_tf
from gcnet_tf.config import Config, config_to_dict
from gcnet_tf.data.catalog import facts_of
from gcnet_tf.errors import UserError
from gcnet_tf.evaluation.load import protocol_settings
from gcnet_tf.export.plan import PORTABLE
from gcnet_tf.files.atomic import new_file, new_folder
from gcnet_tf.files.versions import package_versions
from gcnet_tf.models import Segmentor
from gcnet_tf.runtime.backends import SAVED_MODEL
from gcnet_tf.runtime.backends.saved_model import NETWORK_SIGNATURE
from gcnet_tf.runtime.manifest import (
    ExportManifest,
    TensorInfo,
    content_hash,
    is_part,
    manifest_path,
    write_manifest,
)
from gcnet_tf.runtime.protocol import Protocol
from gcnet_tf.weights.files import weights_hash

_SAVED_MODEL_USAGE = (
    "The signatures serving_default, serving_probabilities, serving_encoded and "
    "serving_png take photos of any size and answer at that size. The signature "
    f"{NETWORK_SIGNATURE} is the network alone: photos as they come get wrong labels "
    "and no error."
)


def describe(
    model: Segmentor,
    config: Config,
    *,
    format: str,
    precision: str,
    target: str = PORTABLE,
    size: tuple[int, int] | None,
    batch: int | None,
    input: TensorInfo,
    outputs: dict[str, TensorInfo],
    packages: tuple[str, ...],
) -> ExportManifest:
    """Makes the manifest of an export, without the hash of the future file.

    Args:
        model: the trained model.
        config: its configuration.
        format, precision, target, size, batch, input, outputs: see `ExportManifest`.
        packages: the packages besides this one that write the file; the manifest
            records their versions.
    """
    facts = facts_of(config.data)
    protocol = protocol_settings(config, model.backbone.padding_colour)
    return ExportManifest(
        format=format,
        precision=precision,
        target=target,
        classes=facts.classes,
        palette=facts.palette,
        size=size,
        batch=batch,
        input=input,
        outputs=outputs,
        protocol=protocol,
        config=config_to_dict(config),
        weights_sha256=weights_hash(model),
        sha256="",
        versions={"gcnet_tf": gcnet_tf.__version__, **package_versions(packages)},
        usage=(
            _SAVED_MODEL_USAGE
            if format == SAVED_MODEL
            else Protocol.from_settings(protocol).in_words(size)
        ),
    )


@contextmanager
def placed(out: Path, manifest: ExportManifest) -> Iterator[Path]:
    """Provides a temporary path to write, which becomes `out` at the end.

    An earlier export at `out` is replaced when the new one is complete; files of others
    in its folder stay.

    Raises:
        UserError: when `out` is something else, or cannot be written.
    """
    _check_replaceable(out)
    writing = new_file if out.suffix else new_folder
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with writing(out) as partial:
            yield partial
            manifest = dataclasses.replace(manifest, sha256=content_hash(partial))
            if partial.is_dir():
                write_manifest(partial, manifest)
                _keep_others(out, partial)
        # The manifest of a file comes last. A reader notices by the hash when it is
        # missing or that of the earlier file.
        if out.is_file():
            write_manifest(out, manifest)
    except OSError as error:
        raise UserError(f"Cannot write {out}: {error}") from error


def _keep_others(old: Path, new: Path) -> None:
    """Copies what others have put into the folder of an earlier SavedModel."""
    for path in old.rglob("*") if old.is_dir() else []:
        target = new / path.relative_to(old)
        name = path.relative_to(old).as_posix()
        if path.is_file() and not is_part(name) and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


def _check_replaceable(out: Path) -> None:
    earlier = manifest_path(out).is_file()
    if out.exists() and not earlier and not _is_empty_folder(out):
        raise UserError(
            f"{out} exists and is not an earlier export; it stays as it is. "
            "Choose another folder with --out."
        )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())

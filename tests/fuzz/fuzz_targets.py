"""Readers of files from others, as functions that a fuzzer calls with any bytes.

Each reads the bytes the way a command does, and answers "read" or "refused"; the latter
after a `UserError` with a message for people. Whatever else is raised is a mistake.
"""

import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_MESSAGE = 2000

Target = Callable[[bytes, Path], str]


class _Refused(Exception):
    pass


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Turns a `UserError` with a good message into `_Refused`."""
    from gcnet_tf.errors import UserError

    try:
        yield
    except UserError as error:
        message = str(error)
        assert message.strip() and "Traceback" not in message, message
        assert len(message) < _LONGEST_MESSAGE, message
        raise _Refused from error


def torch_checkpoint(content: bytes, folder: Path) -> None:
    """A .pth file; bytes that begin like none become the pickle inside one."""
    from torch_files import write_zip

    from gcnet_tf.weights.torch.file import read_torch_file

    path = folder / "weights.pth"
    if content.startswith((b"PK", b"\x80\x02\x8a\x0al")):
        path.write_bytes(content)
    else:
        data = {"a/data.pkl": content, "a/data/0": bytes(64), "a/data/1": bytes(64)}
        write_zip(path, data)
    for array in read_torch_file(path).state_dict.values():
        assert array.flags.owndata


def manifest(content: bytes, folder: Path) -> None:
    """The manifest of an exported model, and the configuration in it."""
    from gcnet_tf.evaluation.load import config_of
    from gcnet_tf.runtime.manifest import manifest_path, read_manifest
    from gcnet_tf.runtime.predictor import protocol_of

    model = folder / "model.onnx"
    model.write_bytes(b"of the manifests in the corpus")
    manifest_path(model).write_bytes(content)
    read = read_manifest(model)
    protocol_of(model, read).scales()
    config_of(model, read, ())


def configuration(content: bytes, folder: Path) -> None:
    """A configuration, and what follows from it without TensorFlow."""
    from gcnet_tf.config import config_to_dict, format_json, load_config
    from gcnet_tf.data.catalog import facts_of

    path = folder / "config.json"
    path.write_bytes(content)
    config = load_config(path)
    format_json(config_to_dict(config))
    facts_of(config.data)


def record(content: bytes, folder: Path) -> None:
    """A file of records, and a record by itself, which the checksums would shield."""
    from gcnet_tf.data.records import damage

    file = folder / "part.tfrecord"
    file.write_bytes(content)
    shard = damage.Shard(file.name, 3, len(content), "")
    items = [*damage.read_shard(folder, shard), (content, "")]
    reasons = [damage.try_decoding(item)[1] for item in items]
    for item, _ in items:
        damage.name_of(item)
    if all(reasons):
        raise _Refused


def label(content: bytes, folder: Path) -> None:
    """A label image: of class ids, and of colours; also with right checksums."""
    from gcnet_tf.data.records.samples import read_label

    path = folder / "label.png"
    tries = [(c, f) for c in {content, _checksummed(content)} for f in _facts()]
    num_refused = 0
    for file_bytes, facts in tries:
        path.write_bytes(file_bytes)
        try:
            with _in_a_sentence():
                ids = read_label(path, facts)
                assert ids.dtype == "uint8" and ids.ndim == 2
        except _Refused:
            num_refused += 1
    if num_refused == len(tries):
        raise _Refused


def _checksummed(png: bytes) -> bytes:
    """Corrects the checksum of each chunk of a PNG, which would shield its content."""
    position, parts = 8, [png[:8]]
    while (start := png[position : position + 8]) and len(start) == 8:
        end = position + 8 + int.from_bytes(start[:4], "big")
        chunk = png[position + 4 : end]
        parts += [start[:4], chunk, zlib.crc32(chunk).to_bytes(4, "big")]
        position = end + 4
    return b"".join(parts)


def _facts():
    from dataclasses import replace

    from gcnet_tf.config import load_config
    from gcnet_tf.data.catalog import facts_of

    if not _FACTS:
        ids = facts_of(load_config("voc_r50_20k").data)
        _FACTS.extend([ids, replace(ids, label_colours=ids.palette)])
    return _FACTS


_FACTS: list = []

READERS = {
    reader.__name__: reader
    for reader in (torch_checkpoint, manifest, configuration, record, label)
}


def check(name: str, content: bytes, folder: Path) -> str:
    """Has a reader read bytes, and returns "read" or "refused"."""
    with warnings.catch_warnings():
        # Warnings are sentences, too.
        warnings.simplefilter("ignore")
        try:
            with _in_a_sentence():
                READERS[name](content, folder)
        except _Refused:
            return "refused"
    return "read"

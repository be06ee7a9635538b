"""TFLite metadata, with which MediaPipe Tasks runs a file without further settings.

The metadata is a flatbuffer among the model's buffers, and the list of labels is a zip
archive behind the model. The tables are those of MediaPipe's metadata_schema.fbs and
image_segmenter_metadata_schema.fbs. MediaPipe's own writer cannot be installed with
current versions of numpy and protobuf.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

import gcnet_tf

LABELS_FILE = "labels.txt"

# The fields of each table in the order of the schema, because a file stores a field's
# number. A union takes two numbers: its kind, and the table.
_MODEL = (
    "name",
    "description",
    "version",
    "subgraphs",
    "author",
    "license",
    "files",
    "min_parser_version",
)
_SUBGRAPH = (
    "name",
    "description",
    "inputs",
    "outputs",
    "files",
    "input_units",
    "output_units",
    "input_groups",
    "output_groups",
    "custom",
)
_TENSOR = (
    "name",
    "description",
    "dimension_names",
    "content",
    "process_units",
    "stats",
    "files",
)
_CONTENT = ("kind", "properties", "range")
_IMAGE = ("colour_space", "default_size")
_PROCESS_UNIT = ("kind", "options")
_NORMALISATION = ("mean", "std")
_STATS = ("max", "min")
_FILE = ("name", "description", "type")
_CUSTOM = ("name", "data")
_SEGMENTER = ("activation",)

_IMAGE_CONTENT = 2
_RGB, _GREY = 1, 2
_NORMALISATION_UNIT = 1
_LABELS_OF_LAST_AXIS = 2
_SOFTMAX = 2
# The first parser version with custom metadata.
_PARSER = "1.5.0"

_Fields = dict[int, Any]


def metadata(
    classes: Sequence[str], output_name: str, is_logits: bool, usage: str
) -> bytes:
    """Makes the metadata, a flatbuffer.

    Args:
        classes: names in the order of their ids.
        output_name: name of the only output.
        is_logits: whether the output is logits, and not labels.
        usage: see `ExportManifest`.
    """
    image = _table(
        _TENSOR,
        name="images",
        description="RGB, 0-255; the model normalises it itself.",
        content=_image(_RGB),
        stats=_table(_STATS, max=_floats(255), min=_floats(0)),
        process_units=[_normalisation()],
    )
    values = "Logits" if is_logits else "Class ids"
    labels = _table(
        _FILE,
        name=LABELS_FILE,
        description="Names of the classes in the order of their ids.",
        type=_LABELS_OF_LAST_AXIS,
    )
    result = _table(
        _TENSOR,
        name=output_name,
        description=f"{values} for every pixel of the input.",
        content=_image(_GREY),
        files=[labels],
    )
    custom = _table(_CUSTOM, name="SEGMENTER_METADATA", data=_segmenter())
    subgraph = _table(
        _SUBGRAPH,
        inputs=[image],
        outputs=[result],
        custom=[custom] if is_logits else [],
    )
    model = _table(
        _MODEL,
        name="GCNet",
        description=f"Semantic segmentation into {len(classes)} classes. {usage}",
        version=gcnet_tf.__version__,
        author=f"gcnet_tf {gcnet_tf.__version__}",
        subgraphs=[subgraph],
        min_parser_version=_PARSER,
    )
    return _flatbuffer(model, b"M001")


def with_metadata(model: Any, metadata_bytes: bytes, classes: Sequence[str]) -> bytes:
    """Makes a TFLite file of a model (see `tflite_graph`), its metadata and labels."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(metadata_bytes, np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name = b"TFLITE_METADATA"
    entry.buffer = len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    file = io.BytesIO()
    file.write(flatbuffer_utils.convert_object_to_bytearray(model))
    # Without a time stamp, so that the same model gives the same file.
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(
            zipfile.ZipInfo(LABELS_FILE), "".join(f"{name}\n" for name in classes)
        )
    return file.getvalue()


def _image(colour_space: int) -> _Fields:
    properties = _table(_IMAGE, colour_space=colour_space)
    return _table(_CONTENT, kind=_IMAGE_CONTENT, properties=properties)


def _normalisation() -> _Fields:
    """Makes a normalisation without effect, which MediaPipe needs for float inputs."""
    options = _table(_NORMALISATION, mean=_floats(0), std=_floats(1))
    return _table(_PROCESS_UNIT, kind=_NORMALISATION_UNIT, options=options)


def _segmenter() -> bytes:
    return _flatbuffer(_table(_SEGMENTER, activation=_SOFTMAX), b"V001")


def _floats(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def _table(names: tuple[str, ...], **values: Any) -> _Fields:
    """Returns values by the number of their field, without empty lists."""
    return {
        names.index(name): value
        for name, value in values.items()
        if not (isinstance(value, list) and not value)
    }


def _flatbuffer(root: _Fields, identifier: bytes) -> bytes:
    """Serializes a table and all tables in it."""
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, root), identifier)
    return bytes(builder.Output())


def _write(builder: flatbuffers.Builder, value: Any) -> int:
    """Writes the value of a field, and returns its offset."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, bytes):
        return builder.CreateByteVector(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if isinstance(value, list):
        offsets = [_write(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    # Numbers are enumerations of one byte, which the table itself holds.
    offset_of_field = {
        field: _write(builder, item)
        for field, item in value.items()
        if not isinstance(item, int)
    }
    builder.StartObject(max(value) + 1)
    for field, item in value.items():
        if isinstance(item, int):
            builder.PrependUint8Slot(field, item, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, offset_of_field[field], 0)
    return builder.EndObject()

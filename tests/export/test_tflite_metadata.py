"""TFLite metadata, read back without MediaPipe (`make mediapipe` reads it with it)."""

import flatbuffers
import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from gcnet_tf import __version__
from gcnet_tf.export.tflite.metadata import metadata

CLASSES = ("ground", "tree", "house")


class Reader:
    """A reader of a flatbuffer, by the numbers that its schema gives to fields."""

    def __init__(self, table):
        self.table = table

    @classmethod
    def root(cls, data, identifier):
        assert data[4:8] == identifier
        start = flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0)
        return cls(Table(bytearray(data), start))

    def _position(self, field):
        offset = self.table.Offset(4 + 2 * field)
        assert offset, f"field {field} is missing"
        return offset + self.table.Pos

    def has(self, field):
        return bool(self.table.Offset(4 + 2 * field))

    def text(self, field):
        return self.table.String(self._position(field)).decode()

    def byte(self, field):
        return self.table.Get(number_types.Uint8Flags, self._position(field))

    def child(self, field):
        return Reader(
            Table(self.table.Bytes, self.table.Indirect(self._position(field)))
        )

    def only(self, field):
        """Returns the only table of a vector."""
        offset = self._position(field) - self.table.Pos
        assert self.table.VectorLen(offset) == 1
        position = self.table.Indirect(self.table.Vector(offset))
        return Reader(Table(self.table.Bytes, position))

    def vector(self, field, flags):
        return self.table.GetVectorAsNumpy(
            flags, self._position(field) - self.table.Pos
        )


def read(is_logits=True):
    return Reader.root(metadata(CLASSES, "logits", is_logits, "Scale photos."), b"M001")


def test_the_model_is_described():
    model = read()
    assert model.text(1) == "Semantic segmentation into 3 classes. Scale photos."
    assert (model.text(2), model.text(4)) == (__version__, f"gcnet_tf {__version__}")
    assert model.text(7) == "1.5.0"


def test_the_input_is_rgb_without_normalisation():
    image = read().only(3).only(2)
    assert image.child(3).byte(0) == 2  # an image
    assert image.child(3).child(1).byte(0) == 1  # RGB
    unit = image.only(4)
    assert unit.byte(0) == 1  # normalisation
    floats = number_types.Float32Flags
    assert unit.child(1).vector(0, floats).tolist() == [0]
    assert unit.child(1).vector(1, floats).tolist() == [1]
    assert image.child(5).vector(0, floats).tolist() == [255]


def test_the_output_names_the_file_of_labels():
    result = read().only(3).only(3)
    assert result.text(0) == "logits"
    assert result.only(6).text(0) == "labels.txt"
    assert result.only(6).byte(2) == 2  # labels of the last axis


def test_logits_become_probabilities_by_softmax():
    custom = read().only(3).only(9)
    assert custom.text(0) == "SEGMENTER_METADATA"
    options_bytes = custom.vector(1, number_types.Uint8Flags)
    options = Reader.root(np.asarray(options_bytes).tobytes(), b"V001")
    assert options.byte(0) == 2  # softmax


def test_labels_have_no_activation():
    assert not read(is_logits=False).only(3).has(9)

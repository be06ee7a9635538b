"""Labels and images: every way in which a file can be right or wrong."""

import dataclasses
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from helpers import CLASSES, random_image, random_label, save_image, save_palette_png
from PIL import Image

from gcnet_tf.data.catalog import dataset_facts, remapped
from gcnet_tf.data.records import samples
from gcnet_tf.data.sources.pairs import Pair
from gcnet_tf.errors import UserError

FACTS = dataset_facts("folder", CLASSES)
# Sixteen classes, so that 4-bit files can hold them.
MANY = dataset_facts("folder", [f"class_{number}" for number in range(16)])


def pack_bits(ids, bits):
    """Encodes a grey PNG of 1, 2 or 4 bits, because Pillow only writes 1 and 8 bits."""
    height, width = ids.shape
    per_byte = 8 // bits
    padded = np.pad(ids, [(0, 0), (0, -width % per_byte)]).astype(np.uint8)
    groups = padded.reshape(height, -1, per_byte)
    shifts = 8 - bits * (np.arange(per_byte) + 1)
    rows = (groups << shifts).sum(axis=2).astype(np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def test_palette_png_gives_indices(tmp_path):
    voc = dataset_facts("voc12aug")
    ids = np.array([[0, 1, 15, 255], [20, 2, 3, 4]], np.uint8)
    path = save_palette_png(tmp_path / "a.png", ids)
    assert np.array_equal(samples.read_label(path, voc), ids)
    # OpenCV indeed returns something else, the grey values of the colours.
    assert not np.array_equal(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palette_png_of_few_bits(tmp_path, bits):
    ids = random_label(0, 2**bits) % 2**bits
    path = save_palette_png(tmp_path / "a.png", ids, bits=bits)
    assert path.read_bytes()[24] == bits
    assert np.array_equal(samples.read_label(path, MANY), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_png_of_few_bits(tmp_path, bits):
    ids = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) % 2**bits
    path = tmp_path / "a.png"
    path.write_bytes(pack_bits(ids, bits))
    assert np.array_equal(samples.read_label(path, MANY), ids)


def test_one_bit_png_of_pillow(tmp_path):
    ids = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(ids.astype(bool)).save(path)
    assert path.read_bytes()[24] == 1
    assert np.array_equal(samples.read_label(path, FACTS), ids)


def test_grey_png_of_eight_bits(tmp_path):
    ids = random_label(1)
    path = save_image(tmp_path / "a.png", ids)
    label = samples.read_label(path, FACTS)
    assert np.array_equal(label, ids) and label.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_labels_that_hold_no_ids_are_refused(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.new(mode, (4, 3)).save(path)
    with pytest.raises(UserError, match="palette PNG, or a grey PNG") as error:
        samples.read_label(path, FACTS)
    assert str(path) in str(error.value) and mode in str(error.value)


COLOURS = ((0, 0, 0), (250, 50, 83), (61, 61, 245))
COLOUR_CODED = dataclasses.replace(FACTS, label_colours=COLOURS)


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_give_ids(tmp_path, mode):
    ids = random_label(0) % 3
    image = Image.fromarray(np.array(COLOURS, np.uint8)[ids]).convert(mode)
    if mode == "P":
        # Pillow's own palette only has colours near to these.
        image = Image.fromarray(np.array(COLOURS, np.uint8)[ids]).quantize(3)
    image.save(tmp_path / "a.png")
    label = samples.read_label(tmp_path / "a.png", COLOUR_CODED)
    assert label.dtype == np.uint8 and np.array_equal(label, ids)


def test_colours_are_mapped_as_ids_are(tmp_path):
    path = save_image(tmp_path / "a.png", np.array([COLOURS], np.uint8))
    facts = remapped(COLOUR_CODED, [(1, 255), (2, 0)], "")
    assert samples.read_label(path, facts).tolist() == [[0, 255, 0]]


def test_a_grey_png_of_black_has_the_id_of_black(tmp_path):
    path = save_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    assert samples.read_label(path, COLOUR_CODED).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    "colours, words",
    [
        ([(250, 50, 83), (250, 50, 84)], r"holds the colour 250,50,84, which"),
        ([(255, 255, 255)], "holds the colour 255,255,255, which"),
        ([(0, 0, 1), (0, 1, 0), (0, 0, 1)], "holds the colour 0,0,1 and 1 more, which"),
    ],
)
def test_unknown_colours_are_named(tmp_path, colours, words):
    path = save_image(tmp_path / "a.png", np.array([colours], np.uint8))
    with pytest.raises(UserError, match=rf"a\.png {words}"):
        samples.read_label(path, COLOUR_CODED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_colour_coded_labels_of_other_kinds_are_refused(tmp_path, mode):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=f"{mode} PNG; a colour-coded label must"):
        samples.read_label(tmp_path / "a.png", COLOUR_CODED)


def test_colours_of_16_bits_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((3, 4, 3), np.uint16))
    for facts in (FACTS, COLOUR_CODED):
        with pytest.raises(UserError, match="16-bit RGB PNG"):
            samples.read_label(tmp_path / "a.png", facts)


def test_a_label_in_another_format_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (4, 3)).save(path, format="JPEG")
    with pytest.raises(UserError, match=r"a\.png is a JPEG file; .* must be a PNG"):
        samples.read_label(path, FACTS)


def test_an_id_outside_of_the_class_list(tmp_path):
    path = save_image(tmp_path / "a.png", np.array([[0, 2, 3, 255]], np.uint8))
    message = r"a\.png holds the value 3; allowed are 0\.\.2 \(3 classes\), and 255"
    with pytest.raises(UserError, match=message):
        samples.read_label(path, FACTS)


def test_many_ids_outside_of_the_class_list(tmp_path):
    path = save_image(tmp_path / "a.png", np.arange(12, dtype=np.uint8)[None])
    with pytest.raises(UserError, match="holds the values 3, 4, 5, 6, 7 and more"):
        samples.read_label(path, FACTS)


def test_label_map_is_applied(tmp_path):
    ade20k = dataset_facts("ade20k")
    path = save_image(tmp_path / "a.png", np.array([[0, 1, 2, 150, 255]], np.uint8))
    label = samples.read_label(path, ade20k)
    assert label.tolist() == [[255, 0, 1, 149, 255]]
    save_image(path, np.array([[0, 151]], np.uint8))
    with pytest.raises(UserError, match=r"value 151; allowed are 1\.\.150 .* 0, 255"):
        samples.read_label(path, ade20k)


def test_sizes_must_agree(tmp_path):
    image = save_image(tmp_path / "a.jpg", random_image(0, 20, 30))
    label = save_image(tmp_path / "a.png", random_label(0, height=30, width=20))
    with pytest.raises(UserError) as error:
        samples.encode_pair(Pair("a", image, label), FACTS)
    message = str(error.value)
    assert f"{image} is 30x20" in message and f"{label} is 20x30" in message


def test_the_histogram_counts_training_ids(tmp_path):
    image = save_image(tmp_path / "a.jpg", random_image(0, 1, 5))
    ids = np.array([[0, 2, 2, 255, 2]], np.uint8)
    label = save_image(tmp_path / "a.png", ids)
    sample = samples.encode_pair(Pair("a", image, label), FACTS)
    assert sample.histogram[[0, 1, 2, 255]].tolist() == [1, 0, 3, 1]
    assert sample.histogram.sum() == 5


def test_a_stored_label_is_an_8_bit_grey_png(tmp_path):
    image = save_image(tmp_path / "a.jpg", random_image(0))
    label = save_palette_png(tmp_path / "a.png", random_label(0))
    sample = samples.encode_pair(Pair("a", image, label), FACTS)
    assert tuple(sample.label[24:26]) == (8, 0)  # bit depth, colour type grey
    stored = Image.open(io.BytesIO(sample.label))
    assert np.array_equal(np.asarray(stored), random_label(0))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_a_cut_image_is_refused(tmp_path, name):
    path = save_image(tmp_path / name, random_image(0, 64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match="Cannot read .*damaged or cut") as error:
        samples.encode_image(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "file_bytes", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_files_that_are_no_images_are_refused(tmp_path, file_bytes):
    path = tmp_path / "a.jpg"
    path.write_bytes(file_bytes)
    with pytest.raises(UserError, match="Cannot read"):
        samples.encode_image(path)
    with pytest.raises(UserError, match="Cannot read"):
        samples.read_label(path, FACTS)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="Cannot read .*gone.jpg"):
        samples.encode_image(tmp_path / "gone.jpg")


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def plain_images(folder):
    """Writes files that all decoders read alike, which are stored unchanged."""
    colour, grey = random_image(0), random_image(0)[:, :, 0]
    save_image(folder / "colour.jpg", colour)
    save_image(folder / "progressive.jpg", colour, progressive=True, subsampling=0)
    save_image(folder / "upright.jpg", colour, exif=orientation(1))
    save_image(folder / "grey.jpg", grey)
    save_image(folder / "colour.png", colour)
    save_image(folder / "grey.png", grey)
    pictures = [Image.fromarray(random_image(seed)) for seed in (1, 2)]
    pictures[0].save(
        folder / "phone.jpg", "MPO", save_all=True, append_images=pictures[1:]
    )
    damaged = bytearray((folder / "upright.jpg").read_bytes())
    tag = damaged.index(b"Exif\0\0") + 6
    damaged[tag : tag + 4] = b"????"
    (folder / "damaged_exif.jpg").write_bytes(damaged)
    return sorted(folder.iterdir())


def other_images(folder):
    """Writes files that have to be decoded to upright RGB and stored as PNG."""
    colour = Image.fromarray(random_image(0))
    folder.mkdir()
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.quantize(17).save(folder / "palette.png")
    colour.convert("RGBA").save(folder / "alpha.png")
    colour.convert("LA").save(folder / "grey_alpha.png")
    colour.convert("1").save(folder / "black_and_white.png")
    colour.save(folder / "image.bmp")
    colour.save(folder / "image.tiff")
    (folder / "grey_2_bits.png").write_bytes(
        pack_bits(np.arange(24).reshape(4, 6) % 4, 2)
    )
    return sorted(folder.iterdir())


def test_plain_images_are_stored_untouched(tmp_path):
    for path in plain_images(tmp_path):
        stored = samples.encode_image(path)
        assert stored == (path.read_bytes(), 1, (24, 32)), path.name


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_turned_images_are_stored_untouched_with_their_orientation(tmp_path, ending):
    """A turned JPEG that is stored as PNG would be several times as large."""
    for value in range(2, 9):
        path = tmp_path / f"turned_{value}.{ending}"
        save_image(path, random_image(0), exif=orientation(value))
        size = (32, 24) if value > 4 else (24, 32)
        stored = samples.encode_image(path)
        assert stored == (path.read_bytes(), value, size), value


def test_other_images_are_stored_as_upright_rgb_png(tmp_path):
    for path in other_images(tmp_path / "other"):
        file_bytes, turn, size = samples.encode_image(path)
        assert (
            turn == 1
            and file_bytes[:4] == b"\x89PNG"
            and tuple(file_bytes[24:26])
            == (
                8,
                2,
            )
        ), path.name
        stored = np.asarray(Image.open(io.BytesIO(file_bytes)))
        assert stored.shape == (*size, 3), path.name
        # OpenCV also turns images upright, and drops alpha.
        expected = cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]
        if path.name != "cmyk.jpg":  # no two libraries agree on these colours
            assert np.array_equal(stored, expected), path.name
        else:
            assert stored.shape == expected.shape

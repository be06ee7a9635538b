"""Letters of all scripts in pictures: never the box of a glyph that a font lacks."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from gcnet_tf.visualize import text
from gcnet_tf.visualize.pictures import contact_sheet, with_legend

COLOURS = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
# In DejaVu Sans, by the documentation of that font.
NAMES = ("Straße Müll", "bâtiment niño ç", "строение", "δρόμος", "طريق", "דרך")
CHINESE, HINDI = "道路", "सड़क"


def drawn(word, size=24):
    """The picture of a word, and whether anything is in it."""
    image = Image.new("RGB", (12 * size, 2 * size), "white")
    text.Lettering(size).draw(ImageDraw.Draw(image), 2, 2, word)
    return np.asarray(image)


def box(file, size=24):
    """The glyph of a letter that a font lacks, drawn without the code under test."""
    return np.asarray(ImageFont.truetype(str(file), size).getmask("\U0010fffd"))


def glyph(file, letter, size=24):
    return np.asarray(ImageFont.truetype(str(file), size).getmask(letter))


@pytest.fixture(autouse=True)
def fresh():
    """Fonts are looked for once; tests change what there is."""
    text.font_file.cache_clear()
    yield
    text.font_file.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_every_letter_has_a_glyph_of_its_own(name):
    file = text.font_file(frozenset(name.replace(" ", "")))
    assert file.name == "DejaVuSans.ttf"
    for letter in name.replace(" ", ""):
        assert not np.array_equal(glyph(file, letter), box(file)), letter
    assert (drawn(name) < 128).any()


def test_dejavu_has_every_letter_that_is_not_looked_up():
    file = text.font_file(frozenset("a"))
    assert file.name == "DejaVuSans.ttf"
    letters = [c for c in map(chr, range(text._FIRST_OTHER)) if text._letters(c)]
    assert len(letters) > 600
    for letter in letters:
        assert not np.array_equal(glyph(file, letter), box(file)), hex(ord(letter))


@pytest.fixture
def only_dejavu(monkeypatch):
    monkeypatch.setattr(text, "_system_files", lambda: ())
    monkeypatch.setattr(text, "_PACKAGES", ())


@pytest.mark.parametrize("draw", ["legend", "sheet"])
def test_letters_that_no_font_has_are_told(draw, only_dejavu):
    classes = ("road", CHINESE, HINDI, "строение")
    ids = np.arange(64, dtype=np.uint8).reshape(-1, 1).repeat(64, axis=1) // 16
    picture = np.full((64, 64, 3), 200, np.uint8)
    with pytest.warns(UserWarning, match="No font here has the letters of") as caught:
        if draw == "legend":
            with_legend(picture, ids, classes, COLOURS)
        else:
            contact_sheet([("a", Image.fromarray(picture))], classes, COLOURS)
    (message,) = (str(warning.message) for warning in caught)
    assert f"{CHINESE}, {HINDI}:" in message and "строение" not in message
    assert "gcnet_tf[fonts]" in message and "fonts-noto" in message


@pytest.mark.parametrize("word", [CHINESE, "도로", "道路Müll", HINDI])
def test_a_font_of_the_script_is_found_where_there_is_one(word):
    for letter in word:
        file = text.font_file(frozenset(letter))
        if file is None:
            pytest.skip("this machine has no font of the script")
        assert not np.array_equal(glyph(file, letter), box(file)), letter
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text.warn_of_missing_letters([word])


def test_a_font_from_elsewhere_gives_what_dejavu_lacks(only_dejavu, monkeypatch):
    """A font of matplotlib's stands in for one of the system."""
    symbol = "\u2a59"  # a sign of logic
    assert text.font_file(frozenset(symbol)) is None
    stix = Path(text._dejavu().with_name("STIXGeneral.ttf"))
    monkeypatch.setattr(text, "_system_files", lambda: (stix,))
    text.font_file.cache_clear()
    assert text.font_file(frozenset(symbol)) == stix
    mixed = f"д{symbol}"  # each font lacks one of the two? the text is drawn in parts
    ink = (drawn(mixed) < 128).any(axis=0).sum()
    assert ink > (drawn("д") < 128).any(axis=0).sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text.warn_of_missing_letters([mixed])


# Words of roads and houses, and the font of the extra `fonts` that has them.
SCRIPTS = {
    "Devanagari": "सड़क",
    "Bengali": "রাস্তা",
    "Tamil": "சாலை",
    "Telugu": "రోడ్డు",
    "Thai": "ถนน",
    "Sinhala": "පාර",
    "Khmer": "ផ្លូវ",
    "Myanmar": "လမ်း",
    "Ethiopic": "መንገድ",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_extra_has_letters_of_most_scripts(script, monkeypatch):
    pytest.importorskip("manimgx_fonts")
    monkeypatch.setattr(text, "_system_files", lambda: ())
    word = SCRIPTS[script]
    file = text.font_file(frozenset(word))
    assert file.name.startswith(f"NotoSans{script}[")
    for letter in word:
        assert not np.array_equal(glyph(file, letter), box(file)), letter
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text.warn_of_missing_letters([f"{word} 1.5%"])


def shaped(word, layout):
    file = text.font_file(frozenset(word))
    font = ImageFont.truetype(str(file), 24, layout_engine=layout)
    image = Image.new("RGB", (12 * 24, 2 * 24), "white")
    baseline = 2 + ImageFont.truetype(str(text._dejavu()), 24).getmetrics()[0]
    draw = ImageDraw.Draw(image)
    draw.text((2, baseline), word, fill="black", font=font, anchor="ls")
    return np.asarray(image)


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow has no libraqm")
@pytest.mark.parametrize("word", ["طريق", "דרך", "हिन्दी", "சாலை", "রাস্তা"])
def test_letters_are_joined_and_ordered(word, monkeypatch):
    """As libraqm does, and not one after the other from left to right."""
    pytest.importorskip("manimgx_fonts")
    monkeypatch.setattr(text, "_system_files", lambda: ())
    picture = drawn(word)
    assert np.array_equal(picture, shaped(word, ImageFont.Layout.RAQM))
    assert not np.array_equal(picture, shaped(word, ImageFont.Layout.BASIC))


def test_a_joiner_stays_with_the_letters_that_it_joins(monkeypatch):
    """Beside letters of another font, too: a joiner makes the half form of a letter."""
    pytest.importorskip("manimgx_fonts")
    monkeypatch.setattr(text, "_system_files", lambda: ())
    half = "क्\u200dष"
    parts = [part for _, part in text.Lettering(24)._runs(f"{half}道")]
    assert parts == [half, "道"] if text.font_file(frozenset("道")) else [half + "道"]


def test_the_letters_that_lack_are_told_once(only_dejavu, recwarn):
    """Not for each picture of a folder, as Python does by itself outside of tests."""
    warnings.simplefilter("default")
    ids = np.zeros((8, 8), np.uint8)
    for _ in range(3):
        with_legend(np.zeros((8, 8, 3), np.uint8), ids, (HINDI,), COLOURS)
    assert len(recwarn) == 1


def test_a_part_of_an_unknown_name_and_bytes_are_drawn():
    assert (drawn("a\udce9b") != drawn("ab")).any()
    assert text.Lettering(12).length("") == 0

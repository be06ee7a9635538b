"""Text in pictures, in letters of any script.

No font has all letters. DejaVu Sans, which comes with matplotlib, has those of Latin,
Cyrillic, Greek, Arabic, Hebrew and more. Others are looked for in packages of Noto Sans
(`pip install "gcnet_tf[fonts]"`) and among the system's fonts.

Letters are joined and put in order as Arabic, Devanagari and other scripts want it
where Pillow has libraqm, as its wheels have.
"""

import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

from gcnet_tf.errors import some
from gcnet_tf.files.names import ESCAPED

# Packages of fonts, of the extra `fonts`.
_PACKAGES = ("noto_cjk_sans_jp_regular", "manimgx_fonts")
# DejaVu Sans has all letters before this one: Latin with all accents, and IPA.
_FIRST_OTHER = 0x2B0
# They have a box for every letter.
_BOXES = ("lastresort", "adobeblank", "notdef")
# Controls, format characters and spaces need no glyph.
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")


class Lettering:
    """Measures and draws texts of one size.

    Attributes:
        size: height of the letters in pixels.
    """

    def __init__(self, size: int):
        self.size = size
        self._ascent = _font(_dejavu(), size).getmetrics()[0]

    def length(self, text: str) -> float:
        """Returns the width of a text in pixels."""
        return sum(font.getlength(part) for font, part in self._runs(text))

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float, text: str) -> None:
        """Draws a text in black, with its top left corner at (x, y)."""
        for font, part in self._runs(text):
            place = (x, y + self._ascent)
            draw.text(place, part, fill="black", font=font, anchor="ls")
            x += font.getlength(part)

    def _runs(self, text: str) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
        """Divides a text into parts that one font has, as few as possible."""
        text = _shown(text)
        file = font_file(_letters(text))
        if file is not None:
            yield _font(file, self.size), text
            return
        files = [_dejavu()]
        for char in text:
            # Joiners and spaces stay with the letters before them, which they may join.
            letters = _letters(char)
            files.append((font_file(letters) or _dejavu()) if letters else files[-1])
        for file, run in groupby(zip(files[1:], text), key=lambda pair: pair[0]):
            yield _font(file, self.size), "".join(char for _, char in run)


def warn_of_missing_letters(texts: Iterable[str]) -> None:
    """Warns of the texts that no font here has the letters of: they become boxes."""
    lacking = [
        t for t in texts if any(font_file(_letters(c)) is None for c in _shown(t))
    ]
    if lacking:
        warnings.warn(
            f"No font here has the letters of {some(lacking)}: pictures show boxes. "
            'Install one: pip install "gcnet_tf[fonts]" for most scripts, or a font of '
            "the script among the system's (on Debian and Ubuntu: apt install "
            "fonts-noto).",
            stacklevel=2,
        )


@cache
def font_file(letters: frozenset[str]) -> Path | None:
    """Returns the first font that has all letters; None where there is none."""
    codes = [ord(letter) for letter in letters]
    if max(codes, default=0) < _FIRST_OTHER:
        return _dejavu()  # without matplotlib, whose import is slow
    return next((file for file in _files() if _has(file, codes)), None)


def _shown(text: str) -> str:
    return text.encode(errors=ESCAPED).decode()


def _letters(text: str) -> frozenset[str]:
    return frozenset(c for c in text if unicodedata.category(c) not in _INVISIBLE)


def _files() -> Iterator[Path]:
    yield _dejavu()
    for package in _PACKAGES:
        for folder in _folders(package):
            yield from sorted(folder.glob("*.?tf"), key=_upright_first)
    yield from _system_files()


@cache
def _dejavu() -> Path:
    (folder,) = _folders("matplotlib")
    return folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def _folders(package: str) -> list[Path]:
    """Finds the folder of a package without importing it; none if it is not there."""
    spec = find_spec(package)
    return [Path(f) for f in spec.submodule_search_locations or ()] if spec else []


@cache
def _system_files() -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts

    files = (Path(file) for file in findSystemFonts())
    chosen = [path for path in files if not path.name.lower().startswith(_BOXES)]
    return tuple(sorted(chosen, key=_upright_first))


def _upright_first(path: Path) -> tuple[bool, str]:
    styles = ("bold", "italic", "oblique")
    return any(style in path.name.lower() for style in styles), path.name


def _has(file: Path, codes: list[int]) -> bool:
    present = _codes(file)
    return all(code in present for code in codes)


@cache
def _codes(file: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(file)).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()  # a damaged font, or one of a kind of its own


@cache
def _font(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), size)

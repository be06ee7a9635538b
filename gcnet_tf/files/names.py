"""Names of files: as bytes, in one form of their accents, and in lines for the shell.

A name on Linux is bytes. Python reads those that are not UTF-8, such as é in Latin-1,
as lone surrogates, which neither a text file nor a terminal takes as they are.
"""

import re
import shlex
import unicodedata
from pathlib import Path, PurePath

_SURROGATES = "surrogateescape"
# Error handler that writes \udce9 for a lone surrogate, which JSON reads back.
ESCAPED = "backslashreplace"
_UNDECODED = re.compile("[\udc80-\udcff]")


def to_bytes(name: str) -> bytes:
    """Returns the bytes of a name, the same in every locale."""
    return name.encode("utf-8", _SURROGATES)


def from_bytes(name: bytes) -> str:
    """Undoes `to_bytes`."""
    return name.decode("utf-8", _SURROGATES)


def composed(name: str) -> str:
    """Returns a name with composed accents (NFC): macOS decomposes them (NFD)."""
    return unicodedata.normalize("NFC", name)


def as_on_disk(path: Path) -> Path:
    """Returns the path of the file whose name has its accents in either form.

    Each folder on the way may have another form than the file. Where there is no such
    file, or a file of this very name, that is `path` itself.
    """
    if str(path).isascii() or path.exists():
        return path
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        present = [found / form for form in forms if (found / form).exists()]
        if not present:
            return path
        found = present[0]
    return found


def quoted(word: object) -> str:
    """Returns a word for a line that is pasted into a shell.

    A path that begins with "-" would be an option: "./" is put in front.
    """
    text = str(word)
    if isinstance(word, PurePath) and text.startswith("-"):
        text = f"./{text}"
    if not _UNDECODED.search(text):
        return shlex.quote(text)
    # In bash and zsh, $'…' takes bytes by their octal numbers.
    inner = text.replace("\\", "\\\\").replace("'", "\\'")
    octal = _UNDECODED.sub(lambda match: f"\\{to_bytes(match[0])[0]:03o}", inner)
    return f"$'{octal}'"

"""Addresses and paths told apart, and the refusal of addresses.

An address is SCHEME://BUCKET/NAME. `pathlib` would make of it the local folder
"SCHEME:", so that every text of a user is looked at before it becomes a path. C:\\ and
C:/ are paths: a scheme has two letters or more.
"""

import re
from os import PathLike
from pathlib import Path
from typing import TypeGuard

from gcnet_tf.errors import UserError
from gcnet_tf.files.address import hidden

_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]+"
_ADDRESS = re.compile(rf"({_SCHEME})://")
# Also what `Path` leaves of an address, s3:/bucket, and chains such as zip::s3://.
_LIKE_ADDRESS = re.compile(rf"{_SCHEME}:(/|:)")
# Schemes whose stores create an object only if there is none, in one step.
CREATING = ("s3", "s3a", "gs", "gcs")
_LOCAL = ("file", "local")
_DOWNLOADED = ("http", "https")


def is_remote(place: object) -> TypeGuard[str]:
    """Tells whether a text is an address; a `Path` never is."""
    return isinstance(place, str) and _ADDRESS.match(place) is not None


def is_like_address(place: object) -> bool:
    """Tells whether a text or path would become a folder such as "s3:"."""
    return _LIKE_ADDRESS.match(str(place)) is not None


def require_local(place: object, where: str) -> None:
    """Checks that a text or path is no address.

    Args:
        place: the text or path.
        where: names the argument or setting, for the message.

    Raises:
        UserError: when it is an address, or what is left of one.
    """
    if is_like_address(place):
        raise UserError(
            f"{where}: received the address {hidden(str(place))}; allowed: a path on "
            "this machine (a folder whose name has a colon, by its whole path)."
        )


def checked_address(place: str, where: str) -> str:
    """Returns an address without the slashes at its end, or a path as it is.

    Args:
        place: an address or a path.
        where: names the argument or setting, for the messages.

    Raises:
        UserError: when it is neither.
    """
    if not is_like_address(place):
        return place
    shown, allowed = hidden(place), "allowed: s3://BUCKET/NAME, gs://BUCKET/NAME"
    if not is_remote(place) or "::" in place:
        raise UserError(f"{where}: received {shown}; {allowed}, or a path.")
    scheme, _, rest = place.partition("://")
    if scheme in _LOCAL:
        raise UserError(
            f"{where}: received {shown}; leave out {scheme}:// for a path on this "
            "machine."
        )
    if scheme in _DOWNLOADED:
        raise UserError(
            f"{where}: received the address {shown}; download it first, and name the "
            f"file; {allowed}, or a path."
        )
    if "@" in rest.partition("/")[0] and scheme in CREATING:
        raise UserError(
            f"{where}: received {shown}; a name or password is never part of an "
            "address here: put it where the store's own programs find it."
        )
    if not rest.partition("/")[0]:
        raise UserError(f"{where}: received {shown}, without a bucket; {allowed}.")
    return place.rstrip("/")


def below(place: str | PathLike, name: str) -> str | Path:
    """Returns the place of a file or folder in a folder, which may be an address."""
    if isinstance(place, str) and is_remote(place):
        return f"{place.rstrip('/')}/{name}"
    return Path(place) / name

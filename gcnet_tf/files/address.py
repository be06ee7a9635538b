"""Web addresses, whose user names and passwords are sent but never shown."""

import base64
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping

_HIDDEN = "…@"


def is_address(url: str) -> bool:
    """Tells whether a text is an http or https address that urllib can send."""
    try:
        parts = urllib.parse.urlsplit(url)
        parts.port  # raises ValueError when it is no number
    except ValueError:
        return False
    # Printable ASCII only, because urllib sends nothing else.
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and re.fullmatch("[!-~]+", url) is not None
    )


def shown(url: str) -> str:
    """Returns an address for messages and files, without user name and password."""
    if not is_address(url):
        return hidden(url)
    return _split(url)[0]


def hidden(text: str) -> str:
    """Hides all in front of an @ in a text that may hold pieces of an address.

    A password with a slash or a space makes an address that nobody can split.
    """
    return re.sub(r"(?s)(\w+://)?\S.*@", lambda found: (found[1] or "") + _HIDDEN, text)


def request_for(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    """Makes a request; a user name and password go to this host alone (basic access).

    Args:
        url: an address.
        headers: what else to send; redirected requests get it, too.
    """
    address, credentials = _split(url)
    request = urllib.request.Request(address, headers=dict(headers))
    if credentials is not None:
        token = base64.b64encode(urllib.parse.unquote_to_bytes(credentials)).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _split(url: str) -> tuple[str, str | None]:
    """Splits an address into one without "user:password@", and this if it is there."""
    parts = urllib.parse.urlsplit(url)
    credentials, separator, host = parts.netloc.rpartition("@")
    if not separator:
        return url, None
    return parts._replace(netloc=host).geturl(), credentials

"""Addresses with passwords, which are sent and never shown."""

import base64
import re
import warnings

import pytest
from file_server import FileServer

from gcnet_tf.errors import UserError
from gcnet_tf.files import download as download_module
from gcnet_tf.files.address import is_address, shown
from gcnet_tf.files.download import download
from gcnet_tf.weights.official import fetch

NAME = "/some/x.pth"
SECRETS = ("usr", "s3cret", "s3%63ret")


@pytest.fixture
def server():
    with FileServer({NAME: b"content"}) as server:
        yield server


def locked(url):
    """Returns an address with a user name and a password, "s3cret"."""
    return url.replace("://", "://usr:s3%63ret@")


def assert_no_secret(text):
    assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    "url, expected",
    [
        ("https://usr:s3cret@host:8443/a?b=c#d", "https://host:8443/a?b=c#d"),
        ("https://usr@host/a", "https://host/a"),
        ("http://host/@scope/x@1.pth?", "http://host/@scope/x@1.pth?"),
        ("https://usr:s3@cret@host", "https://host"),
        # What nobody can split: all in front of the last @ is hidden.
        ("https://usr:s3/s3cret@host/x", "https://…@host/x"),
        ("https://usr:s3 s3cret@host/x", "https://…@host/x"),
        ("ftp://usr:s3cret@host/x", "ftp://…@host/x"),
        ("https://usr:s3cret@[::1/x", "https://…@[::1/x"),
        ("usr:s3cret@host", "…@host"),
        ("ftp://host/a", "ftp://host/a"),
    ],
)
def test_shown(url, expected):
    assert shown(url) == expected


def test_a_port_is_a_number():
    assert is_address("http://host:80/x") and not is_address("http://host:eighty/x")


def test_the_password_is_sent(server, tmp_path):
    download(locked(server.url(NAME)), tmp_path / "x.pth")
    expected = "Basic " + base64.b64encode(b"usr:s3cret").decode()
    assert server.passwords == [expected]
    download(server.url(NAME), tmp_path / "y.pth")
    assert server.passwords == [expected, None]


def test_no_message_shows_a_password(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    url, path = locked(server.url(NAME)), tmp_path / "x.pth"
    (tmp_path / "file").touch()
    wrong_hash = "0" * 64

    def refused(words, url=url, path=path, digest=None):
        with pytest.raises(UserError, match=words) as caught:
            download(url, path, digest)
        assert_no_secret(str(caught.value))

    refused("gave a file with", digest=wrong_hash)
    refused("Cannot keep", path=tmp_path / "file" / "x.pth")
    refused("answers 404", url=url + "gone")
    refused("must begin with", url=url.replace("http", "ftp"))
    refused("must begin with", url=url.replace("s3%63ret", "s3/s3cret"))
    refused("failed", url="http://usr:s3cret@host.invalid/x")
    with pytest.raises(UserError) as caught:
        fetch("http://usr:s3cret@host.invalid")
    assert_no_secret(str(caught.value))
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        download(url, path, wrong_hash, allow_mismatch=True)
    assert_no_secret(str(caught_warnings[0].message))


def test_no_file_holds_a_password(server, tmp_path, monkeypatch):
    """The note beside an unfinished download names its address."""
    monkeypatch.setattr(download_module, "_MAX_TRIES", 1)
    server.cuts, server.cut_after = 1, 3
    with pytest.raises(UserError, match="it ended after") as caught:
        download(locked(server.url(NAME)), tmp_path / "x.pth")
    assert_no_secret(str(caught.value))
    note = (tmp_path / "partial-x.pth.json").read_text()
    assert re.search('"url": "http://127', note)
    assert_no_secret(note)
    # Without the password, or with a new one, the download goes on.
    server.requests.clear()
    download(server.url(NAME), tmp_path / "x.pth")
    assert server.requests[0][1] is not None
    assert (tmp_path / "x.pth").read_bytes() == b"content"

"""The cache of checkpoints: an address gives its own file, whatever its name."""

import hashlib

import pytest
from file_server import FileServer

from gcnet_tf.errors import UserError
from gcnet_tf.weights import official
from gcnet_tf.weights.official import cached_path, fetch

NAME = "/iter_20000.pth"
FIRST, SECOND = b"of the first host", b"of the second"
DIGITS = hashlib.sha256(FIRST).hexdigest()[:8]
HASHED = f"/gcnet-{DIGITS}.pth"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_two_hosts_give_one_name_to_different_files():
    with FileServer({NAME: FIRST}) as first, FileServer({NAME: SECOND}) as second:
        for _ in range(2):
            assert fetch(first.url(NAME)).read_bytes() == FIRST
            assert fetch(second.url(NAME)).read_bytes() == SECOND
        assert len(first.requests) == len(second.requests) == 1
    assert fetch(first.url(NAME)).name == "iter_20000.pth"


def test_a_query_is_part_of_the_address_and_not_of_the_name():
    with FileServer({HASHED + "?v=1": FIRST, HASHED + "?v=2": SECOND}) as server:
        assert fetch(server.url(HASHED + "?v=1")).name == HASHED[1:]
        with pytest.raises(UserError, match=f"SHA-256 .*{DIGITS} was expected"):
            fetch(server.url(HASHED + "?v=2"))


def test_a_file_of_an_older_version_is_found_if_its_name_has_its_hash(cache):
    old = cache / "checkpoints" / HASHED[1:]
    old.parent.mkdir(parents=True)
    old.write_bytes(FIRST)
    with FileServer({}) as server:
        path = fetch(server.url(HASHED))
        assert path.read_bytes() == FIRST and path == cached_path(server.url(HASHED))
        assert not old.exists() and fetch(server.url(HASHED)) == path
        assert server.requests == []


@pytest.mark.parametrize("name, content", [(NAME, SECOND), (HASHED, SECOND)])
def test_any_other_file_of_an_older_version_is_not(name, content, cache):
    old = cache / "checkpoints" / name[1:]
    old.parent.mkdir(parents=True)
    old.write_bytes(content)
    with FileServer({name: FIRST}) as server:
        assert fetch(server.url(name)).read_bytes() == FIRST
    assert old.read_bytes() == content


@pytest.mark.parametrize("address", ["http://h", "http://h/", "http://h/..", "x:/?"])
def test_every_address_has_a_path_in_the_cache(address, cache):
    path = cached_path(address)
    assert path.parent.parent == cache / "checkpoints" and path.resolve() == path


def test_published_addresses_have_different_paths():
    urls = [official.published_checkpoint(name) for name in official.published_rows()]
    assert len({cached_path(url) for url in urls}) == len(set(urls))

"""Requests that fail and pass, those that never pass, and what users read then."""

import pytest
from faulty import FAULTS
from operations import CONTENT, OPERATIONS, prepare

from gcnet_tf.errors import UserError
from gcnet_tf.files.remote import store as store_module
from gcnet_tf.files.remote.failures import NotThere, RemoteError
from gcnet_tf.files.remote.store import Store

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda item: item.__name__)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_operation_survives_faults_in_its_requests(
    fault, operation, store, tmp_path
):
    address, faulty = store
    place = Store(address, "--out")
    faulty.reset()
    prepare(place)
    faulty.reset()
    assert operation(place, tmp_path)
    num_requests = len(faulty.requests)
    assert num_requests
    # A stall takes a second each time, so that it is the first.
    stalls = fault in ("timeout", "slow")
    num_met = 0
    for hit in range(1, 2 if stalls else num_requests + 1):
        faulty.reset()
        prepare(place)
        faulty.reset(lambda number, *request: fault if number == hit else "")
        assert operation(place, tmp_path), hit
        num_met += len(faulty.requests) >= hit
        faulty.reset()
        assert OPERATIONS[operation](place), hit
    # Not every time all requests are needed.
    assert num_met


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_store_that_stays_away_is_told_in_a_sentence(fault, store, monkeypatch):
    monkeypatch.setattr(store_module, "ATTEMPTS", 2)
    address, faulty = store
    faulty.reset(lambda *request: fault)
    with pytest.raises(RemoteError, match="could not be reached, or failed") as caught:
        Store(address, "--out").write("x", b"x")
    assert "\n" not in str(caught.value) and address in str(caught.value)


def test_a_body_that_is_always_cut_is_never_taken_for_whole(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(store_module, "ATTEMPTS", 3)
    address, faulty = store
    place = Store(address, "--out")
    prepare(place)
    faulty.reset(lambda number, method, path: "cut" if method == "GET" else "")
    with pytest.raises(RemoteError):
        place.fetch("there", tmp_path / "x", len(CONTENT))
    with pytest.raises(RemoteError):
        place.read("there")


def test_other_bytes_than_those_of_the_checksum_are_refused(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(store_module, "ATTEMPTS", 2)
    place = Store(store[0], "--out")
    prepare(place)
    with pytest.raises(RemoteError, match="does not match its checksum"):
        place.fetch("there", tmp_path / "x", len(CONTENT), "0" * 64)


def test_a_bucket_that_is_not_there(store):
    scheme = store[0].partition("://")[0]
    place = Store(f"{scheme}://missing-box/x", "--out")
    for ask in (place.list, place.entry, lambda: place.create("x", b"")):
        with pytest.raises(NotThere, match="there is no bucket .*missing-box. Make"):
            ask()


def test_an_object_that_is_not_there(store):
    place = Store(store[0], "--out")
    assert place.entry("x") is None and place.list() == {}
    with pytest.raises(NotThere, match="there is no such object"):
        place.read("x")


def test_an_unknown_scheme(store):
    with pytest.raises(UserError, match="--image: .*unknown scheme nix://"):
        Store("nix://box/x", "--image")


def test_missing_credentials(store, monkeypatch, tmp_path):
    address, faulty = store
    if address.startswith("gs"):
        # The emulator asks nobody for credentials.
        faulty.reset(lambda *request: "401")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RemoteError, match="without valid credentials"):
        Store(address, "--out").list()


@pytest.mark.slow
@pytest.mark.parametrize("hit", [None, 3, 5])
def test_a_large_file_goes_in_parts(hit, store, tmp_path, monkeypatch):
    """Sends 110 MB; a part that fails is sent again, and no half is ever there."""
    monkeypatch.setattr(store_module, "READ_SECONDS", 60.0)
    address, faulty = store
    place = Store(address, "--out")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(110 * 10**6)
    faulty.reset(lambda number, *request: "503" if number == hit else "")
    place.put("large", tmp_path / "large")
    sent = [path for method, path in faulty.requests if method in ("PUT", "POST")]
    assert len(sent) >= 3
    assert place.entry("large").num_bytes == 110 * 10**6

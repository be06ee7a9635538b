"""Downloads: whole or not at all, resumed and checked; and messages to the user."""

import hashlib
import io
import json
import resource
import signal
import subprocess
import sys
import threading
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from file_server import FileServer

from gcnet_tf.errors import UserError
from gcnet_tf.files import download as module
from gcnet_tf.files.checksum import file_sha256
from gcnet_tf.files.download import cache_folder, download, hash_in_name

CONTENT = np.random.default_rng(0).bytes(1_000_003)
OTHER = np.random.default_rng(1).bytes(1_000_003)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "/some/x.pth"


@pytest.fixture
def server():
    with FileServer({NAME: CONTENT}) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "x.pth"


def names(path):
    return sorted(file.name for file in path.parent.iterdir())


def ranges(server):
    return [byte_range for _, byte_range in server.requests]


def interrupt(server, path, cut_after=400_000):
    """Downloads the first `cut_after` bytes."""
    server.cuts, server.cut_after = 1, cut_after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_TRIES", 1)
        with pytest.raises(UserError, match="it ended after"):
            download(server.url(NAME), path)
    server.requests.clear()
    assert partial(path).read_bytes() == CONTENT[:cut_after]


def partial(path):
    return path.with_name("partial-" + path.name)


def assert_refused(message, url, path, *options):
    with pytest.raises(UserError, match=message) as caught:
        download(url, path, *options)
    assert url in str(caught.value)
    assert not path.exists()


# Successful downloads


@pytest.mark.parametrize("sha256", [None, DIGEST, DIGEST[:8], DIGEST[:10].upper()])
def test_a_file_arrives(server, path, sha256):
    assert download(server.url(NAME), path, sha256) == path
    assert path.read_bytes() == CONTENT
    assert names(path) == ["x.pth"]
    assert server.requests == [(NAME, None)]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_other_hashes_are_named(server, path, algorithm):
    digits = hashlib.new(algorithm, CONTENT).hexdigest()
    download(server.url(NAME), path, f"{algorithm}:{digits}")
    wrong = f"{algorithm}:{digits[::-1]}"
    name = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}[algorithm]
    message = f"has the {name} {digits}, and {digits[::-1]} was expected"
    with pytest.raises(UserError, match=message):
        download(server.url(NAME), path, wrong)


def test_an_empty_file_and_a_file_without_a_length(server, path):
    server.files["/empty"] = b""
    download(server.url("/empty"), path)
    assert path.read_bytes() == b""
    server.send_length = False
    download(server.url(NAME), path.with_name("y.pth"))
    assert path.with_name("y.pth").read_bytes() == CONTENT
    assert names(path) == ["x.pth", "y.pth"]


@pytest.mark.parametrize("sha256", [None, DIGEST[:8]])
def test_a_file_that_is_there_is_not_downloaded(server, path, sha256):
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert download(server.url(NAME), path, sha256) == path
    assert server.requests == []


def test_the_progress_bar_begins_where_the_file_does(server, path, monkeypatch):
    bars = []

    class Bar(module.tqdm):
        def __init__(self, **options):
            super().__init__(**options | {"disable": False, "file": io.StringIO()})
            bars.append((options["initial"], options["total"], self))

        def display(self, *arguments, **options):
            pass

    monkeypatch.setattr(module, "tqdm", Bar)
    server.cuts, server.cut_after = 1, 400_000
    download(server.url(NAME), path)
    states = [(initial, total, bar.n) for initial, total, bar in bars]
    size = len(CONTENT)
    assert states == [(0, size, 400_000), (400_000, size, size)]


# Interruptions


def test_cut_connections_are_resumed(server, path):
    server.cuts, server.cut_after = 3, 300_000
    download(server.url(NAME), path, DIGEST)
    starts = [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert ranges(server) == starts
    assert names(path) == ["x.pth"]


@pytest.mark.parametrize("etag", [True, False])
def test_a_later_call_resumes(server, path, etag):
    server.etag = etag
    server.modified = None if etag else "Wed, 21 Oct 2015 07:28:00 GMT"
    interrupt(server, path)
    download(server.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=400000-"]
    assert names(path) == ["x.pth"]


@pytest.mark.parametrize(
    "error", [ConnectionResetError("reset"), TimeoutError(), IncompleteRead(b"")]
)
def test_errors_while_reading_are_cuts(server, path, monkeypatch, error):
    read, calls = HTTPResponse.read, []

    def failing(response, size):
        calls.append(size)
        if len(calls) == 2:
            raise error
        return read(response, size)

    monkeypatch.setattr(HTTPResponse, "read", failing)
    download(server.url(NAME), path, DIGEST)
    assert ranges(server) == [None, f"bytes={calls[0]}-"]


def test_a_connection_without_data_ends_the_download(server, path):
    server.cuts, server.cut_after = 100, 0
    assert_refused("it ended after 0 of 1000003 bytes", server.url(NAME), path)
    assert len(server.requests) == 1
    assert names(path) == []


def test_the_number_of_tries_is_limited(server, path):
    server.cuts, server.cut_after = 1000, 1
    assert_refused("it ended after 20 of", server.url(NAME), path)
    assert len(server.requests) == 20


def test_a_cut_in_a_server_without_ranges(server, path):
    server.ranges = False
    interrupt(server, path)
    server.cuts, server.cut_after = 1, 400_000
    # The download begins again, and does not get further.
    assert_refused("it ended after 400000", server.url(NAME), path)
    download(server.url(NAME), path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("if_range", [True, False])
@pytest.mark.parametrize("changed", [OTHER, OTHER[:-1], OTHER[:1000], OTHER + b"1"])
def test_a_file_that_changed_is_never_spliced(server, path, if_range, changed):
    interrupt(server, path)
    server.files[NAME] = changed
    server.if_range = if_range
    download(server.url(NAME), path)
    assert path.read_bytes() == changed
    assert ranges(server) == ["bytes=400000-", None][: 1 if if_range else 2]


def test_a_file_that_changed_between_two_tries(server, path, monkeypatch):
    server.cuts, server.cut_after = 1, 400_000
    fetch_once, tries = module._fetch_once, []

    def changing(*arguments):
        tries.append(1)
        server.files[NAME] = CONTENT if len(tries) == 1 else OTHER
        fetch_once(*arguments)

    monkeypatch.setattr(module, "_fetch_once", changing)
    download(server.url(NAME), path)
    assert path.read_bytes() == OTHER
    assert ranges(server) == [None, "bytes=400000-"]


@pytest.mark.parametrize("note", [None, "", "{", "[]", "{}", '{"url": 1}'])
def test_a_partial_file_of_an_unknown_version(server, path, note):
    path.parent.mkdir()
    partial(path).write_bytes(OTHER[:1000])
    if note is not None:
        partial(path).with_name("partial-x.pth.json").write_text(note)
    download(server.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_server_that_does_not_tell_the_version(server, path):
    server.etag = False
    interrupt(server, path)
    download(server.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None]


def test_a_weak_etag_is_ignored(server, path):
    interrupt(server, path)
    file = partial(path).with_name("partial-x.pth.json")
    assert json.loads(file.read_text())["header"] == "ETag"
    partial(path).unlink()
    response = SimpleNamespace(headers={"ETag": 'W/"1"'})
    module._note_version(path, "url", response, 3)
    assert json.loads(file.read_text())["validator"] is None


def test_a_partial_file_of_another_address(server, path):
    interrupt(server, path)
    server.files["/mirror"] = OTHER
    assert_refused("404", server.url("/nowhere"), path)
    assert partial(path).read_bytes() == CONTENT[:400_000]
    download(server.url("/mirror"), path)
    assert path.read_bytes() == OTHER
    assert ranges(server) == [None, None]


def test_a_partial_file_that_is_whole(server, path):
    """The server answers 416 to the request for the rest."""
    interrupt(server, path)
    partial(path).write_bytes(CONTENT)
    download(server.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(CONTENT)}-", None]


def test_ctrl_c_keeps_the_received_bytes(server, path, monkeypatch):
    blocks = []

    def read(response):
        if blocks:
            raise KeyboardInterrupt
        blocks.append(response.read(300_000))
        return blocks[0]

    with monkeypatch.context() as patch:
        patch.setattr(module, "_read", read)
        with pytest.raises(KeyboardInterrupt):
            download(server.url(NAME), path)
    assert partial(path).read_bytes() == CONTENT[:300_000]
    download(server.url(NAME), path)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=300000-"]


# Hashes


def test_another_file_than_expected_is_not_put_in_place(server, path):
    wrong = "0" * 8
    message = f"SHA-256 {DIGEST}, and {wrong} was expected; it was removed. Run again"
    assert_refused(message, server.url(NAME), path, wrong)
    assert names(path) == []
    download(server.url(NAME), path, DIGEST)
    assert path.read_bytes() == CONTENT


def test_a_mismatch_may_be_allowed(server, path):
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"{DIGEST}, and 00000000 was expected"):
            download(server.url(NAME), path, "0" * 8, allow_mismatch=True)
        assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_file_that_is_there_is_checked(server, path):
    path.parent.mkdir()
    path.write_bytes(OTHER)
    with pytest.raises(UserError, match=f"{path} has .* {DIGEST} was.* Remove"):
        download(server.url(NAME), path, DIGEST)
    assert path.read_bytes() == OTHER
    assert server.requests == []


def test_file_sha256(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert file_sha256(tmp_path / "a") == DIGEST


@pytest.mark.parametrize(
    "name, expected",
    [
        ("resnet50_v1c-2cccc1ad.pth", "2cccc1ad"),
        ("gcnet_r50-d8_512x512_20k_voc12aug_20200617_165701-3cbfdab1.pth", "3cbfdab1"),
        ("20200617_165701.pth", None),
        ("model-3cbfdab.pth", None),
        ("model-3cbfdab12.pth", None),
        ("model-3cbfdabx.pth", None),
        ("model-3cbfdab1.pth.gz", None),
        ("3cbfdab1.pth", None),
        ("model-3cbfdab1", None),
    ],
)
def test_hash_in_name(name, expected):
    assert hash_in_name(name) == expected


# Failures


@pytest.mark.parametrize(
    "status, message",
    [
        (404, r"answers 404 \(Not Found\).* check the address"),
        (410, r"answers 410 \(Gone\).* check the address"),
        (401, r"answers 401 \(Unauthorized\).* not public"),
        (403, r"answers 403 \(Forbidden\).* not public"),
        (416, "answers 416"),
        (429, "answers 429 .*Try again later"),
        (500, "answers 500 .*Try again later"),
        (503, "answers 503 .*Try again later"),
        (204, "answers 204"),
        (206, "answers 206"),
        (302, "answers 302"),
    ],
)
def test_refusals_of_the_server(server, path, status, message):
    server.status = status
    assert_refused(message + f".*{path} by other means", server.url(NAME), path)
    assert names(path) == []


def test_a_refusal_keeps_the_partial_file(server, path):
    interrupt(server, path)
    server.status = 503
    assert_refused("answers 503", server.url(NAME), path)
    server.status = None
    download(server.url(NAME), path)
    assert ranges(server) == ["bytes=400000-"] * 2


def test_no_server(path):
    with FileServer({}) as server:
        url = server.url(NAME)
    message = f"failed: .*refused.* run again, it goes on .* {path} by other means"
    assert_refused(message, url, path)
    assert names(path) == []


def test_an_unknown_host(path):
    # The name ".invalid" never exists, by RFC 2606.
    assert_refused("failed: .*; or put the file at", "http://host.invalid/a", path)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://host/a",
        "/some/x.pth",
        "https:///x.pth",
        "http://",
        "http://[::1/x",
        "http://host/a b",
        "http://host/a\n",
        "",
    ],
)
def test_invalid_addresses_are_refused(path, url):
    with pytest.raises(
        UserError, match="must begin with http:// or https://"
    ) as caught:
        download(url, path)
    assert repr(url) in str(caught.value)
    assert not path.parent.exists()


def test_a_redirect_to_a_file_of_this_machine(server, path, tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("secret")
    server.status = 302

    def send_error(self, status):
        self.send_response(status)
        self.send_header("Location", f"file://{tmp_path}/secret")
        self.end_headers()

    monkeypatch.setattr("file_server._Handler.send_error", send_error)
    assert_refused("answers 302", server.url(NAME), path)


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    message = f"Cannot keep .* at {tmp_path}/file/x.pth: .*permissions"
    with pytest.raises(UserError, match=message):
        download(server.url(NAME), tmp_path / "file" / "x.pth")
    assert server.requests == []


def test_a_disk_that_takes_no_more(server, path):
    """The limit on a file's size stands in for the end of the disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, limits[1]))
    try:
        assert_refused("Cannot keep .* too large.* free space", server.url(NAME), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    size = partial(path).stat().st_size
    assert 0 < size <= 600_000
    download(server.url(NAME), path, DIGEST)
    assert ranges(server) == [None, f"bytes={size}-"]


# Several processes


def test_one_of_many_downloads_and_the_others_wait(server, path):
    server.cuts, server.cut_after = 3, 300_000
    barrier = threading.Barrier(4)
    results = []

    def run():
        barrier.wait()
        results.append(download(server.url(NAME), path, DIGEST))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [path] * 4
    assert len(server.requests) == 4
    assert names(path) == ["x.pth"]


def test_the_next_one_downloads_when_the_first_was_removed(server, path, monkeypatch):
    """The second waits for a file that the first then removes for its wrong hash."""
    mismatch, errors = module._mismatch, []
    second = threading.Thread(target=lambda: download(server.url(NAME), path, DIGEST))
    waits = threading.Event()
    flock = module.fcntl.flock

    def observed(file, operation):
        if threading.current_thread() is second:
            waits.set()
        flock(file, operation)

    def wrong(checked, sha256):
        if threading.current_thread() is second:
            return mismatch(checked, sha256)
        second.start()
        assert waits.wait(10)
        return "another"

    monkeypatch.setattr(module.fcntl, "flock", observed)
    monkeypatch.setattr(module, "_mismatch", wrong)
    try:
        download(server.url(NAME), path, DIGEST)
    except UserError as error:
        errors.append(error)
    second.join()
    assert len(errors) == 1
    assert path.read_bytes() == CONTENT
    assert names(path) == ["x.pth"]


def test_a_killed_process_leaves_no_lock(server, path):
    """SIGKILL stops it in the middle of a download, which the next process resumes."""
    program = (
        "import sys, signal, os\n"
        "from pathlib import Path\n"
        "from gcnet_tf.files import download as module\n"
        "module._BLOCK_BYTES = 100_000\n"
        "read = module._read\n"
        "def dying(response, calls=[]):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(response)\n"
        "module._read = dying\n"
        "module.download(sys.argv[1], Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", program, server.url(NAME), str(path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    size = partial(path).stat().st_size
    assert size > 0
    download(server.url(NAME), path, DIGEST)
    assert ranges(server) == [None, f"bytes={size}-"]


# The folder


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GCNET_TF_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "gcnet_tf"
    monkeypatch.setenv("XDG_CACHE_HOME", "/general")
    assert cache_folder() == Path("/general/gcnet_tf")
    monkeypatch.setenv("GCNET_TF_CACHE", "/own")
    assert cache_folder() == Path("/own")

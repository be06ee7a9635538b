"""Stores on this machine, with faults: `make cloud-test` has their programs."""

import pytest
from faulty import PATIENCE_SECONDS, environment, serving

from gcnet_tf.files.remote.store import file_system_class


@pytest.fixture(scope="session", params=["s3", "gs"])
def running(request, tmp_path_factory):
    """A store of each kind, as its scheme and its `Faulty`, for the whole session."""
    for module in ("moto", "gcp_storage_emulator", "s3fs", "gcsfs"):
        pytest.importorskip(module, reason=f"{module} is missing: make cloud-test")
    with serving(request.param, tmp_path_factory.mktemp(request.param)) as faulty:
        yield request.param, faulty


@pytest.fixture
def store(running, monkeypatch, tmp_path, request):
    """The address of an empty place in a store, and the store's `Faulty`.

    The cache is empty, and silence and pauses are short.
    """
    import fsspec

    scheme, faulty = running
    faulty.reset()
    for name, value in environment(scheme, faulty.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gcnet_tf.files.remote.store.READ_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("gcnet_tf.files.remote.store.FIRST_PAUSE_SECONDS", 0.02)
    if scheme == "gs":
        # As the variables say, which fsspec reads once, when it is imported.
        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        monkeypatch.setitem(fsspec.config.conf, "gcs", {"token": "anon"})
    file_system_class(scheme, "the test").clear_instance_cache()
    yield f"{scheme}://box/{tmp_path.name}", faulty
    faulty.reset()

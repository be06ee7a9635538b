"""Engines of Apache Beam on this machine: `make beam-test` has their programs."""

import warnings

import pytest

TWO = "--direct_num_workers 2 --direct_running_mode multi_processing"
# Words of the command line: one process, two, and another program altogether.
ENGINES = {
    "one": ["--runner", "DirectRunner"],
    "two": ["--runner", "DirectRunner", *TWO.split()],
    "dask": ["--runner", "DaskRunner", "--dask_npartitions", "4"],
}


@pytest.fixture(scope="session")
def has_beam():
    """Skips a test where Beam is not installed, and loads it without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("apache_beam", reason="Beam is missing: make beam-test")


@pytest.fixture(params=ENGINES)
def engine(request, has_beam):
    """Words of a command line that choose an engine."""
    return ENGINES[request.param]


@pytest.fixture
def direct(has_beam):
    """Words of a command line that choose the engine in this process."""
    return ENGINES["one"]

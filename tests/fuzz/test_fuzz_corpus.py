"""The fuzzer's corpus, read once more: `make fuzz` goes on from it."""

from pathlib import Path

import pytest
from fuzz_targets import READERS, check

CORPUS = Path(__file__).resolve().parent / "corpus"


@pytest.mark.parametrize("reader", READERS)
def test_every_input_is_read_or_refused_in_a_sentence(reader, tmp_path):
    outcomes = {
        file.name: check(reader, file.read_bytes(), tmp_path)
        for file in sorted((CORPUS / reader).iterdir())
    }
    # Otherwise a changed format has made the good inputs worthless.
    assert outcomes["seed-0"] == "read"
    assert "refused" in outcomes.values()

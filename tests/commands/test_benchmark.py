"""The benchmark's command line with wrong input, without measurements."""

import pytest
from helpers import exit_code
from script_server import REPOSITORY


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("pipeline --rounds 0", "--rounds: received 0; it is at least 1"),
        ("pipeline --seconds 0", "--seconds: received 0.0; it is above 0"),
        ("infer --rounds 0", "--rounds: received 0; it is at least 1"),
        ("infer --threads 0", "--threads: received 0"),
        ("infer --size 12", '--size: received "12"'),
        ("infer --exports nowhere", "nowhere holds no exported model"),
        ("infer --out README.md", "--out: cannot make the folder README.md"),
        ("callers --threads 0", "--threads: received 0"),
        ("callers --exports nowhere", "nowhere holds no exported model"),
        ("train --batch 0", "--batch: received 0; it is at least 1"),
        ("train --out README.md", "--out: cannot make the folder README.md"),
        ("evaluate --images -1", "--images: received -1; it is at least 1"),
        ("evaluate --threads 0", "--threads: received 0"),
        ("blocks --seconds -1", "--seconds: received -1.0; it is above 0"),
        ("blocks --threads 0", "--threads: received 0"),
        ("convolutions --rounds 0", "--rounds: received 0; it is at least 1"),
        ("allocators --rounds 0", "--rounds: received 0; it is at least 1"),
        ("allocators --only nothing", 'received "nothing", which is in no workload'),
        ("allocators --exports nowhere", "nowhere holds no exported model"),
        ("large --samples 5", "--samples: received 5; it is at least --shards, 100"),
        ("large --bytes 0", "--bytes: received 0; it is at least 1"),
        ("mobile --size 12", '--size: received "12"'),
        ("mobile --cfg voc_r18_20k nowhere", "nowhere"),
    ],
)
def test_wrong_arguments(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert exit_code("benchmark", *arguments.split()) == 2
    assert message in capsys.readouterr().err

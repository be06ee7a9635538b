"""Writes docs/results/addresses.md: which faults of a store were tried and survived.

.venv-cloud/bin/python tests/cloud/run.py
"""

import collections
import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY)]

from faulty import FAULTS, PATIENCE_SECONDS, environment, serving  # noqa: E402
from operations import OPERATIONS, prepare  # noqa: E402

from gcnet_tf.errors import UserError  # noqa: E402
from gcnet_tf.files.remote import store as store_module  # noqa: E402
from gcnet_tf.processor import processor  # noqa: E402

PAGE = REPOSITORY / "docs" / "results" / "addresses.md"
MEANINGS = {
    "503": "the store answers 503",
    "429": "the store answers 429",
    "reset": "the connection ends before the request is carried out",
    "timeout": "no answer comes within the time limit",
    "cut": "half of the answer's body comes",
    "slow": "the body comes in pieces, and takes longer than the limit on silence",
    "lost": "the request is carried out, and its answer is lost",
}


def tried_in(scheme: str, folder: Path) -> dict[tuple[str, str], tuple[int, int]]:
    """Returns (tries, survived) for each fault and operation of a store."""
    outcomes = {}
    with serving(scheme, folder) as faulty:
        os.environ.update(environment(scheme, faulty.url))
        place = store_module.Store(f"{scheme}://box/run", "--out")
        for fault in FAULTS:
            for operation, holds in OPERATIONS.items():
                counts: collections.Counter = collections.Counter()
                faulty.reset()
                prepare(place)
                faulty.reset()
                operation(place, folder)
                for hit in range(1, len(faulty.requests) + 1):
                    faulty.reset()
                    prepare(place)
                    faulty.reset(lambda number, *_, hit=hit: fault * (number == hit))
                    try:
                        done = operation(place, folder)
                    except UserError:
                        done = False
                    if len(faulty.requests) < hit:
                        continue  # this time fewer requests were needed
                    faulty.reset()
                    counts["tries"] += 1
                    counts["survived"] += done and holds(place)
                key = fault, operation.__name__
                outcomes[key] = counts["tries"], counts["survived"]
    return outcomes


def main() -> int:
    store_module.READ_SECONDS = PATIENCE_SECONDS
    store_module.FIRST_PAUSE_SECONDS = 0.02
    lines = [
        "# Faults of object stores, tried and survived",
        "",
        f"`make cloud-faults` on {processor()}: local stores, moto's for S3 and",
        "gcp-storage-emulator's for Google Cloud Storage, behind a proxy that breaks",
        "one request at a time, each request of each operation in turn. Survived: the",
        "operation ended, and the store then holds what it should. The emulator has no",
        "conditional writes; the proxy adds that condition.",
        "",
        "| fault | S3: survived / tried | Google: survived / tried |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        stores = [tried_in(scheme, Path(folder)) for scheme in ("s3", "gs")]
    lost = 0
    for fault in FAULTS:
        cells = []
        for outcomes in stores:
            counts = [value for key, value in outcomes.items() if key[0] == fault]
            tries, survived = (sum(column) for column in zip(*counts))
            lost += tries - survived
            cells.append(f"{survived} / {tries}")
        lines.append(f"| {MEANINGS[fault]} | {cells[0]} | {cells[1]} |")
    names = ", ".join(operation.__name__ for operation in OPERATIONS)
    lines += ["", f"Operations: {names}."]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())

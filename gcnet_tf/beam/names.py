"""The pairs of a split in files and packets of some thousand, which workers exchange.

So the process that starts a pipeline keeps no list of its own of them, and an engine
that keeps what it brings together in memory gets along with a few bytes a pair.
"""

import pickle
import zlib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from gcnet_tf.data.catalog import DatasetFacts
from gcnet_tf.data.compact import hashes
from gcnet_tf.data.sources.pairs import Pair

# Names and paths of one file, about a megabyte.
_PAIRS_A_FILE = 2**12
# Pairs are sorted by the hash of their name, a group with the same first bits at once.
_PAIRS_A_GROUP = 2**16
_GROUP_BITS = (4, 16)

Facts = list[DatasetFacts | None]


class Row(NamedTuple):
    """A pair as workers exchange it.

    Attributes:
        name: name of the pair.
        image: path of the image.
        label: path of the label, or a label that is drawn.
        facts: number of its facts.
    """

    name: str
    image: str
    label: Any
    facts: int

    def pair(self, facts: Facts) -> Pair:
        """Makes the pair; `facts` is what `write_pairs` returned."""
        label = Path(self.label) if isinstance(self.label, str) else self.label
        return Pair(self.name, Path(self.image), label, facts[self.facts])


def write_pairs(pairs: Iterable[Pair], folder: Path) -> tuple[list[str], Facts]:
    """Writes pairs into files of a new folder.

    Returns:
        The paths of the files, and the facts that the pairs share, by their number.
    """
    folder.mkdir(parents=True)
    facts: Facts = [None]
    # By the id, because many pairs share the same object.
    numbers = {id(None): 0}
    files: list[str] = []
    source = iter(pairs)
    while part := list(islice(source, _PAIRS_A_FILE)):
        rows = []
        for pair in part:
            number = numbers.setdefault(id(pair.facts), len(facts))
            if number == len(facts):
                facts.append(pair.facts)
            label = str(pair.label) if isinstance(pair.label, Path) else pair.label
            rows.append(Row(pair.name, str(pair.image), label, number))
        path = folder / f"{len(files):06d}"
        path.write_bytes(packed(rows))
        files.append(str(path))
    return files, facts


def read_rows(file: str) -> list[Row]:
    """Reads the rows of a file of `write_pairs`."""
    return unpacked(Path(file).read_bytes())


def packed(items: Sequence[Any]) -> bytes:
    """Packs rows: their names and paths have much in common."""
    return zlib.compress(pickle.dumps(items), 1)


def unpacked(packet: bytes) -> list[Any]:
    """Undoes `packed`."""
    return pickle.loads(zlib.decompress(packet))


def group_bits(num_pairs: int) -> int:
    """Returns the number of first bits of a hash that a group of pairs shares."""
    least, most = _GROUP_BITS
    return min(max(least, (num_pairs // _PAIRS_A_GROUP).bit_length()), most)


def grouped(file: str, bits: int) -> dict[int, list[tuple[bytes, Row]]]:
    """Reads the rows of a file by their groups, each with bytes that sort all rows.

    The order is that of the local conversion: by the hash of the name, and then as the
    pairs came.
    """
    rows = read_rows(file)
    digests = hashes(row.name for row in rows)
    size = digests.dtype.itemsize
    groups: dict[int, list[tuple[bytes, Row]]] = {}
    first = int(Path(file).name) * _PAIRS_A_FILE
    for place, (digest, row) in enumerate(zip(digests.tolist(), rows), first):
        digest = digest.ljust(size, b"\0")  # NumPy drops zeros at the end
        group = int.from_bytes(digest[:2]) >> (16 - bits)
        groups.setdefault(group, []).append((digest + place.to_bytes(8), row))
    return groups

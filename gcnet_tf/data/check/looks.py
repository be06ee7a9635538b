"""The looks at all pairs of a check, of which 30 bytes a pair are kept, and sums."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gcnet_tf.data.check.findings import UNSURE_TURN, Item, Problem
from gcnet_tf.data.compact import Rows, in_order
from gcnet_tf.data.sources.pairs import Pair

# Least share of an image that a class has to cover to be visible in a small picture.
_VISIBLE_SHARE = 0.01
# Number of examples that the sheet shows, unless the classes need more.
_NUM_EXAMPLES = 12
# Bytes of an image's hash that are kept: two of ten million images have the same in one
# case of 10^10.
_DIGEST = 10


@dataclass(frozen=True)
class Look:
    """The result of the check of one pair of files.

    Attributes:
        size: (height, width) of the upright image; None when it cannot be read.
        counts: number of pixels of each training id in the label; empty when the label
            is refused.
        digest: hash of the image file; empty when it cannot be read.
        problems: the problems of this pair alone.
    """

    size: tuple[int, int] | None
    counts: dict[int, int]
    digest: bytes
    problems: tuple[Problem, ...]


class Example(NamedTuple):
    """A pair to show."""

    split: str
    pair: Pair


class _Candidate(NamedTuple):
    """A look that may be shown: its number, and each class's share of the pixels."""

    number: int
    shares: np.ndarray


@dataclass
class Looks:
    """Sums over the looks, and what has to be known of each one.

    Attributes:
        pairs: the pairs of each split, which are looked at in this order.
        num_classes: number of classes.
        pixels: of each split: pixels per training id, int64 (256,).
        images: of each split: images in which a training id occurs, int64 (256,).
    """

    pairs: dict[str, Sequence[Pair]]
    num_classes: int
    pixels: dict[str, np.ndarray] = field(init=False)
    images: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = {split: np.zeros(256, np.int64) for split in self.pairs}
        self.images = {split: np.zeros(256, np.int64) for split in self.pairs}
        self._sizes = array("i")  # height and width of each look; 0 if unreadable
        self._digests = bytearray()
        self._is_good = bytearray()  # whether image and label could be read
        # Sum over all looks of each class's share, and the look with the largest one.
        self._total = np.zeros(self.num_classes)
        self._largest = np.zeros(self.num_classes)
        self._best: dict[int, _Candidate] = {}
        self._unsure: list[_Candidate] = []

    def __len__(self) -> int:
        return len(self._is_good)

    def add(self, split: str, look: Look) -> None:
        """Adds the look at the next pair, which is in the split."""
        for index, count in look.counts.items():
            self.pixels[split][index] += count
            self.images[split][index] += 1
        is_good = bool(look.size and look.counts)
        if is_good:
            self._consider(look)
        self._sizes.extend(look.size or (0, 0))
        self._digests += look.digest[:_DIGEST].ljust(_DIGEST, b"\0")
        self._is_good.append(is_good)

    def _consider(self, look: Look) -> None:
        shares = np.zeros(self.num_classes)
        for index, count in look.counts.items():
            if index < self.num_classes:
                shares[index] = count / sum(look.counts.values())
        candidate = _Candidate(len(self), shares)
        self._total += shares
        for index in np.flatnonzero(shares > self._largest).tolist():
            self._largest[index] = shares[index]
            self._best[index] = candidate
        is_unsure = any(kind == UNSURE_TURN for kind, _ in look.problems)
        if is_unsure and len(self._unsure) < _NUM_EXAMPLES:
            self._unsure.append(candidate)

    def number(self, split: str) -> int:
        """Counts the looks at pairs of a split."""
        return len(self.pairs[split])

    def sizes(self, split: str) -> np.ndarray:
        """Returns height and width of a split's readable images, int32 (number, 2)."""
        start, end = self._range(split)
        sizes = np.frombuffer(self._sizes, np.int32).reshape(-1, 2)[start:end]
        return sizes[sizes[:, 0] > 0]

    def _range(self, split: str) -> tuple[int, int]:
        splits = list(self.pairs)
        start = sum(map(self.number, splits[: splits.index(split)]))
        return start, start + self.number(split)

    def example(self, number: int) -> Example:
        """Returns the pair of a look by its number."""
        for split, pairs in self.pairs.items():
            if number < len(pairs):
                return Example(split, pairs[number])
            number -= len(pairs)
        raise IndexError(number)

    def in_two_splits(self) -> Iterator[Problem]:
        """Yields the images that are in two splits, by content or by name alone."""
        by_content = self._of_one_content() if len(self.pairs) > 1 else []
        is_same = np.zeros(len(self), bool)
        for number, first in by_content:
            here, there = self.example(number), self.example(first)
            if here.split != there.split:
                is_same[number] = True
                item = Item(str(here.pair.image), f"as {there.pair.image}")
                yield "same_content", item
        # Of each split before: names in order, and their images.
        earlier: list[Rows] = []
        for split, pairs in self.pairs.items():
            start, _ = self._range(split)
            for number, pair in enumerate(pairs if earlier else (), start):
                found = (names.find(pair.name) for names in earlier)
                row = next(filter(None, found), None)
                if row and not is_same[number]:
                    yield "same_name", Item(str(pair.image), f"and {row[1]}")
            rows = ((pair.name, str(pair.image)) for pair in pairs)
            if split != list(self.pairs)[-1]:
                earlier.append(Rows(in_order(rows)))

    def _of_one_content(self) -> Iterator[tuple[int, int]]:
        """Yields the numbers of looks whose image was there before, and the first's."""
        digests = np.frombuffer(self._digests, f"S{_DIGEST}")
        order = np.argsort(digests, kind="stable")
        digests = digests[order]
        again = np.flatnonzero(digests[1:] == digests[:-1]) + 1
        again = again[digests[again] != b""]  # of images that cannot be read
        firsts = order[np.searchsorted(digests, digests[again])]
        numbers = order[again]
        for place in np.argsort(numbers):
            yield int(numbers[place]), int(firsts[place])

    def examples(self, at_least: int = _NUM_EXAMPLES) -> list[Example]:
        """Chooses a few pairs that together show every class, the rarest class first.

        Before them come pairs whose label may not be turned as its image, up to
        `at_least` of the first twelve. A class is shown by the image of which it covers
        most, unless an image that is already chosen shows it well enough. Other pairs
        are added up to `at_least`.
        """
        chosen = self._unsure[:at_least]
        for index in np.argsort(self._total, kind="stable"):
            enough = min(_VISIBLE_SHARE, self._largest[index])
            if enough > 0 and all(shares[index] < enough for _, shares in chosen):
                chosen.append(self._best[index])
        numbers = [candidate.number for candidate in chosen]
        is_left = np.frombuffer(bytes(self._is_good), bool).copy()
        is_left[numbers] = False
        rest = np.flatnonzero(is_left)
        num_added = min(max(at_least - len(numbers), 0), len(rest))
        numbers += [rest[step * len(rest) // num_added] for step in range(num_added)]
        return [self.example(int(number)) for number in numbers]

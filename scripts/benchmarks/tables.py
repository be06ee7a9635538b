"""Tables of text, the first line their head; the first two columns are words."""

from collections.abc import Sequence

_NUM_WORDS = 2


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """For the terminal."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < _NUM_WORDS else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = lines
    rule = ["---"] * _NUM_WORDS + ["---:"] * (len(head) - _NUM_WORDS)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))

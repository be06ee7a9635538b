"""Tables of text. The first line of cells is the head; words come before numbers."""

from collections.abc import Sequence


def aligned(lines: Sequence[Sequence[str]], num_words: int = 2) -> str:
    """Returns a table for the terminal, columns of equal width.

    Args:
        lines: cells, the head first.
        num_words: number of leading columns that hold words, which align to the left.
    """
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < num_words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def markdown(lines: Sequence[Sequence[str]], num_words: int = 2) -> str:
    """Returns the same table in Markdown; the arguments are those of `aligned`."""
    head, *rows = lines
    rule = ["---"] * num_words + ["---:"] * (len(head) - num_words)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))

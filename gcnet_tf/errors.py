"""The one exception that means "the user can fix this"."""

from collections.abc import Iterable

_LONGEST_LINE = 300


class UserError(ValueError):
    """Bad input: the message says what was received, what is allowed, what to do next.

    Scripts print the message alone and exit with code 2 (see `gcnet_tf.commands.cli`).
    """


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, for use inside our own sentence.

    A longer one is cut, because errors quote files, and these may be a stranger's.
    """
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def some(texts: Iterable[str], most: int = 5, separator: str = ", ") -> str:
    """Joins the first texts, and says how many more there are: "a, b and 3 more"."""
    texts = list(texts)
    shown = separator.join(texts[:most])
    num_hidden = len(texts) - most
    return f"{shown} and {num_hidden} more" if num_hidden > 0 else shown

"""The one exception that means "the user can fix this"."""

import re
from collections.abc import Iterable
from itertools import islice

# The operation that TensorFlow names, and the code of Keras 3 for bold letters.
_MARKS = re.compile(r"\{\{\S+ [^}]+\}\} | \[Op:\w+\]( name:)?|\x1b\[\d*m")
# The lines of code that AutoGraph lists, and Keras' line, before the error's own text.
_WRAPPING = re.compile(
    r"\A(?:in user code:\n\s*\n(?:.*\S.*\n)+\s*\n\s*"
    r"|(?:\w+: )?Exception encountered when calling .*\n\s*)+"
)
_LONGEST_LINE = 300


class UserError(ValueError):
    """Bad input: the message says what was received, what is allowed, what to do next.

    Scripts print the message alone and exit with code 2 (see `gcnet_tf.commands.cli`).
    """


def require_utf8(path: object, where: str) -> None:
    """Checks that the name of a file is text, as TensorFlow and configurations want.

    Raises:
        UserError: when its name has bytes that are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{where}: the name {path} has bytes that are not UTF-8, which neither "
            "TensorFlow, a configuration nor an archive takes. Choose another name, or "
            "make a link with another name: ln -s OLD NEW"
        ) from None


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text, for use inside our own sentence.

    Left out is the operation that TensorFlow names around its text, as in
    "{{function_node …}} … [Op:Mul] name:", and the lines that AutoGraph and Keras put
    before it. A longer line is cut, because errors quote files, and these may be a
    stranger's.
    """
    text = _WRAPPING.sub("", _MARKS.sub("", str(error).strip()))
    line = (text.splitlines() or [type(error).__name__])[0].rstrip()
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def some(
    texts: Iterable[str],
    most: int = 5,
    separator: str = ", ",
    total: int | None = None,
) -> str:
    """Joins the first texts, and says how many more there are: "a, b and 3 more".

    Args:
        texts: the texts.
        most: greatest number of texts to join.
        separator: put between them.
        total: number of texts, of which `texts` are the first; None if it has all.
    """
    texts = iter(texts)
    shown = list(islice(texts, most))
    num_hidden = sum(1 for _ in texts) if total is None else total - len(shown)
    text = separator.join(shown)
    return f"{text} and {num_hidden} more" if num_hidden > 0 else text

"""Texts of errors inside our own sentences."""

import pytest

from gcnet_tf.errors import first_line


@pytest.mark.parametrize(
    "text, line",
    [
        ("a\nb", "a"),
        ("", "ValueError"),
        ("x" * 300, "x" * 300),
        ("x" * 999, "x" * 300 + "…"),
    ],
)
def test_the_first_line_is_short(text, line):
    assert first_line(ValueError(text)) == line

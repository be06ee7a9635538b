"""How the sections check their values, and the numbers that several of them take."""

from typing import Annotated

from pydantic import ConfigDict, Field

# A value of another type is refused, not converted: a configuration means what it says.
STRICT = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
)

Pixels = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0)]
Byte = Annotated[int, Field(ge=0, le=255)]

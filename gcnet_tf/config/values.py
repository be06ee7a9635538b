"""Settings of pydantic, and the kinds of number, that several sections share."""

from typing import Annotated

from pydantic import ConfigDict, Field

# Strict: a value of another type is refused and not converted, because a silent
# conversion could change its meaning.
STRICT = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
)

Pixels = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0)]
Byte = Annotated[int, Field(ge=0, le=255)]

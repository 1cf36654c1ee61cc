"""What sections of the configuration are made of.

The modules of sections do without `from __future__ import annotations`: pydantic would have to evaluate the text of
every annotation, at every start of the program.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def option(
    default: object,
    description: str,
    *,
    unit: str | None = None,
    example: object = None,
    ge: int | None = None,
    le: int | None = None,
) -> Any:  # what pydantic's own Field returns
    """One option. `example` is shown in complaints, and in the example file where there is no default."""
    return Field(
        default,
        description=description,
        examples=None if example is None else [example],
        json_schema_extra=None if unit is None else {"unit": unit},
        ge=ge,
        le=le,
    )


class Section(BaseModel):
    """A table of options; a key it does not know is an error, here too and not only at the top."""

    model_config = ConfigDict(extra="forbid", frozen=True)

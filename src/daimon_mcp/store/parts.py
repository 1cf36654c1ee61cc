"""What statements are put together from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, Insert, Table, bindparam
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlmodel import SQLModel


def table_of(model: type[SQLModel]) -> Table:
    """The table of a class."""
    return SQLModel.metadata.tables[model.__name__.lower()]


def b(name: str) -> BindParameter[Any]:
    """A parameter the caller passes."""
    return bindparam(name)


def insert_into(table: Table, *without: str) -> Insert:
    """A row with a parameter for each column but those named."""
    return table.insert().values({c.name: b(c.name) for c in table.c if c.name not in without})


def insert_once(table: Table, *without: str) -> Any:
    """The same, which does nothing where there is such a row."""
    values = {c.name: b(c.name) for c in table.c if c.name not in without}
    return upsert(table).values(values).on_conflict_do_nothing()

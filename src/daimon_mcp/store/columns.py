"""The kinds of columns that tables are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, SmallInteger, Text, text
from sqlmodel import Field

_KEY = BigInteger().with_variant(Integer, "sqlite")


def auto_key_column() -> Any:
    return Field(default=None, primary_key=True, sa_type=_KEY)


def key_column() -> Any:
    return Field(primary_key=True, sa_type=_KEY, sa_column_kwargs={"autoincrement": False})


def big_column(default: int | None = None) -> Any:
    kwargs: dict[str, Any] = {} if default is None else {"server_default": text(str(default))}
    return Field(sa_type=BigInteger, sa_column_kwargs=kwargs)


def small_column(default: int = 0) -> Any:
    return Field(sa_type=SmallInteger, sa_column_kwargs={"server_default": text(str(default))})


def text_column() -> Any:
    return Field(sa_type=Text)


def named_column(default: str) -> Any:
    return Field(sa_type=Text, sa_column_kwargs={"server_default": text(f"'{default}'")})

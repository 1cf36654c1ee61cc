"""The statements the program runs are the ones its tables and expressions give."""

from __future__ import annotations

from tests.support.contracts import check_contract

from daimon_mcp.store.generate import render


def test_compiled_statements() -> None:
    check_contract("src/daimon_mcp/store/compiled.py", render())

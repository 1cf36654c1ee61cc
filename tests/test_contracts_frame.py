"""Files that the frame generates are as the code makes them."""

from __future__ import annotations

from tests.support.contracts import check_contract

from daimon_mcp.settings import example_toml


def test_the_example_configuration_is_up_to_date() -> None:
    check_contract("config.example.toml", example_toml())

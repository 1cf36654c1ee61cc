"""The API's description is as the code makes it."""

from __future__ import annotations

import json

from tests.support.contracts import check_contract

from daimon_mcp import __version__
from daimon_mcp.faces.rest.openapi import document
from daimon_mcp.faces.rest.table import ROUTES


def test_the_description_is_up_to_date() -> None:
    text = json.dumps(document(ROUTES, version=__version__), indent=1, ensure_ascii=False)
    check_contract("src/daimon_mcp/faces/rest/openapi.json", f"{text}\n")

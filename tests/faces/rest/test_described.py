"""The API's description, as programs, people and models get it."""

from __future__ import annotations

import re

import httpx2
import pytest
from tests.faces.rest.kit import Answer
from tests.support.daimon import Daimon

from daimon_mcp.faces.rest.table import ROUTES


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/openapi.json"])
async def test_programs_get_it_without_a_key_and_are_told_when_it_is_unchanged(serving: Daimon, path: str) -> None:
    async with httpx2.AsyncClient(base_url=serving.url) as http:
        first = await http.get(path)
        again = await http.get(path, headers={"If-None-Match": first.headers["etag"]})
    described = first.json()
    assert described["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert told == {(route.method, route.path) for route in ROUTES}
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/llms.txt", "/llms-full.txt"])
async def test_models_get_it_as_text(serving: Daimon, path: str) -> None:
    async with httpx2.AsyncClient(base_url=serving.url) as http:
        text = (await http.get(path)).text
    assert all(f"{route.method} {route.path}" in text for route in ROUTES)


async def test_people_get_a_page_that_loads_nothing_else(serving: Daimon) -> None:
    async with httpx2.AsyncClient(base_url=serving.url) as http:
        page = await http.get("/docs")
        wrong = await http.post("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|\b(src|srcset)=|@import|url\(", page.text)
    assert all(route.summary.split("'")[0] in page.text for route in ROUTES)
    assert wrong.status_code == 405


async def test_a_line_end_in_a_path_is_part_of_it(serving: Daimon) -> None:
    async with httpx2.AsyncClient(base_url=serving.url) as http:
        answer = Answer(await http.get("/v1/attachments/a%0Ab"))
    assert answer.error == (401, "UNAUTHORIZED")

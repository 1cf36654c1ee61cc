"""From a path to its route, and the words of a program."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.rest.app import Table
from daimon_mcp.faces.rest.dialect import RestDialect
from daimon_mcp.faces.rest.statuses import STATUSES
from daimon_mcp.faces.rest.table import ROUTES

TABLE = Table(ROUTES)


def found(method: str, path: bytes) -> tuple[str, Mapping[str, str]]:
    route, places = TABLE.find(method, path)
    return route.operation, places


def refused(method: str, path: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        TABLE.find(method, path)
    return caught.value


def test_places_are_decoded_after_the_path_is_taken_apart() -> None:
    path = b"/v1/inboxes/a%40x.org/threads/thr_1/labels/c%2Fd%20%C3%A9"
    places = {"inbox": "a@x.org", "thread_id": "thr_1", "label": "c/d é"}
    assert found("DELETE", path) == ("remove_thread_label", places)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_path_leads_to_its_route(route: object) -> None:
    each = next(one for one in ROUTES if one is route)
    path = each.path.replace("{", "").replace("}", "").encode()
    assert TABLE.find(each.method, path)[0] is each
    assert TABLE.find("HEAD" if each.method == "GET" else each.method, path)[0] is each


@pytest.mark.parametrize("path", [b"", b"/", b"/v2/inboxes", b"/v1/inboxes/x/y", b"/v1/account/x", b"/v1/inboxes/x/"])
def test_what_is_no_path(path: bytes) -> None:
    assert refused("GET", path).code is RefusalCode.ROUTE_NOT_FOUND


def test_what_is_near_is_said_and_what_was_asked_is_not() -> None:
    assert refused("GET", b"/v1/capability").suggestions[0] == "/v1/capabilities"
    assert refused("GET", b"/zzz").suggestions == ()


def test_other_methods_are_named() -> None:
    assert refused("PUT", b"/v1/account").facts == {"methods": "GET, HEAD"}
    assert refused("get", b"/v1/account").code is RefusalCode.METHOD_NOT_ALLOWED


def test_a_route_is_there_once() -> None:
    with pytest.raises(ValueError, match="is there twice"):
        Table((*ROUTES, ROUTES[0]))


def test_operations_are_named_by_method_and_path() -> None:
    dialect = RestDialect(ROUTES)
    assert dialect.call("send_email") == "POST /v1/inboxes/{inbox}/send"
    assert dialect.offers("send_email")
    assert not dialect.offers("make_coffee")


def test_every_refusal_has_a_status() -> None:
    assert set(STATUSES) == set(RefusalCode)
    assert all(400 <= status < 600 for status in STATUSES.values())

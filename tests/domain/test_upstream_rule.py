"""Which inbox here an address of a mailbox elsewhere stands for."""

from __future__ import annotations

import pytest

from daimon_mcp.domain.upstream import DeliveryFields, rule

ME = "me@example.com"
PLAIN = rule(address=ME, domain="agents.test", domains=("agents.test",))
FULL = rule(
    address=ME,
    domain="agents.test",
    domains=("agents.test", "other.test"),
    tags=("help=support", "jobs=hiring@other.test"),
    catch_all="team.example",
    default_inbox="assistant",
)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("me+support@example.com", "support@agents.test"),
        ("ME+Support@EXAMPLE.com", "support@agents.test"),
        ("me+support+case-7@example.com", "support+case-7@agents.test"),
        ("me@example.com", None),
        ("me+@example.com", None),
        ("me++x@example.com", None),
        ("you+support@example.com", None),
        ("me+support@example.org", None),
        ("support@agents.test", None),
        ("me+support", None),
        ("@example.com", None),
        ("", None),
    ],
)
def test_a_tag_is_the_name_of_an_inbox(address: str, here: str | None) -> None:
    assert PLAIN.here(address) == here


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("me+help@example.com", "support@agents.test"),
        ("me+help+7@example.com", "support+7@agents.test"),
        ("me+jobs@example.com", "hiring@other.test"),
        ("sales@team.example", "sales@agents.test"),
        ("sales+7@team.example", "sales+7@agents.test"),
        ("help@team.example", "support@agents.test"),
    ],
)
def test_tags_can_be_mapped_and_a_whole_domain_caught(address: str, here: str) -> None:
    assert FULL.here(address) == here


def test_a_catch_all_domain_that_is_ours_keeps_its_name_and_tags_do_not_go_there() -> None:
    ours = rule(
        address="me@other.test", domain="agents.test", domains=("agents.test", "other.test"), catch_all="other.test"
    )
    assert ours.here("sales@other.test") == "sales@other.test"
    assert ours.here("me+sales@other.test") == "sales@agents.test"
    assert ours.here("me@other.test") is None


def fields(*blocks: tuple[str, ...], named: tuple[str, ...] = ()) -> DeliveryFields:
    return DeliveryFields(blocks, named, "")


def test_the_topmost_trace_fields_come_first_and_are_not_mixed_with_what_others_wrote() -> None:
    found = FULL.candidates(
        fields(
            ("me+a@example.com",),
            ("me+b@example.com", "x@elsewhere.test"),
            named=("me+c@example.com", "d@team.example"),
        )
    )
    assert found == [
        ("a@agents.test",),
        ("b@agents.test",),
        ("c@agents.test", "d@agents.test"),
        ("assistant@agents.test",),
    ]


def test_trace_fields_that_say_only_the_plain_address_leave_it_to_the_others() -> None:
    assert PLAIN.candidates(fields((ME,), named=("Me+A@example.com", "me+a@example.com", ME))) == [("a@agents.test",)]


def test_mail_that_names_nobody_here_has_no_candidates_or_the_default_inbox() -> None:
    assert PLAIN.candidates(fields((ME,), named=("friends@list.test",))) == []
    assert FULL.candidates(fields((ME,), named=("friends@list.test",))) == [("assistant@agents.test",)]

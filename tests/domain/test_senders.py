"""Which addresses an account may send as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.domain.senders import MAX_DOMAIN, MAX_LOCAL, NotOwned, owns, sender_not_owned

OWNED = frozenset({"agent@x.example", "a.b-c@x.example", "plus+name@x.example", "bot@xn--bcher-kva.example"})


@pytest.mark.parametrize(
    "address",
    [
        "agent@x.example",
        "Agent@X.Example",
        "agent+ticket-7@x.example",
        "AGENT+Ticket+8@x.example",
        "agent+@x.example",
        '"agent"@x.example',
        '"a\\gent"@x.example',
        '"agent+t"@x.example',
        "plus+name@x.example",
        "bot@bücher.example",
        "bot+t@BÜCHER.example",
        "bot@XN--BCHER-KVA.example",
        "bot@bu\u0308cher.example",
    ],
)
def test_owned(address: str) -> None:
    assert owns(OWNED, address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "agent",
        "@x.example",
        "agent@",
        "other@x.example",
        "agent@y.example",
        "agent@sub.x.example",
        "agent@x.example.evil.example",
        "plus@x.example",
        "+agent@x.example",
        "agentt@x.example",
        '"agent@x.example"@y.example',
        "agent@y.example@x.example",
        '" agent"@x.example',
        '"agent@x.example',
        "agent @x.example",
        "agent@x.example ",
        "<agent@x.example>",
        "Agent <agent@x.example>",
        "bac\u212a@x.example",
        "\uff41gent@x.example",
        "аgent@x.example",  # the first letter is Cyrillic
        "bot@b\udcffcher.example",
        "bot@xn--\u00fc.example",
        "bot@xn--bcher-kva-.example",
        "agent+" + "t" * MAX_LOCAL + "@x.example",
        "agent@" + "x" * MAX_DOMAIN + ".example",
    ],
)
def test_not_owned(address: str) -> None:
    assert not owns({*OWNED, "back@x.example"}, address)


def test_an_inbox_may_be_kept_under_either_form_of_its_domain() -> None:
    assert owns({"bot@bücher.example"}, "bot@xn--bcher-kva.example")
    assert owns({"bot@bücher.example"}, "Bot@BÜCHER.example")
    assert owns({"ботик@x.example"}, "ботик+t@x.example")
    assert not owns({"ботик@x.example"}, "Ботик@x.example")


@given(st.text(max_size=40), st.sampled_from(["", "@x.example", "@bücher.example", "@xn--"]))
def test_no_text_is_owned_that_does_not_reach_an_inbox(text: str, tail: str) -> None:
    if owns(OWNED, text + tail):
        local, _, domain = (text + tail).rpartition("@")
        plain = local.strip('"').replace("\\", "").lower()
        assert plain.partition("+")[0] in {"agent", "a.b-c", "plus", "bot"}
        assert domain.lower().startswith(("x.e", "xn--bcher", "bücher"))


@pytest.mark.parametrize(
    ("mail_from", "from_", "sender", "report", "expected"),
    [
        ("agent@x.example", ["Agent@x.example"], [], False, None),
        ("agent+t@x.example", ["a.b-c@x.example", "agent@x.example"], ["agent@x.example"], False, None),
        ("agent@x.example", [], [], False, None),
        ("z@z.example", ["agent@x.example"], [], False, NotOwned("mail_from", "z@z.example")),
        ("z@z.example", ["agent@x.example"], [], True, NotOwned("mail_from", "z@z.example")),
        ("agent@x.example", ["agent@x.example", "z@z.example"], [], False, NotOwned("from", "z@z.example")),
        ("agent@x.example", ["agent@x.example"], ["z@z.example"], False, NotOwned("sender", "z@z.example")),
        ("", ["agent@x.example"], [], False, NotOwned("mail_from", "")),
        ("", ["agent@x.example"], [], True, None),
        ("", ["z@z.example"], [], True, NotOwned("from", "z@z.example")),
        ("", ["agent@x.example"], ["z@z.example"], True, NotOwned("sender", "z@z.example")),
        ("", [], [], True, NotOwned("from", "")),
    ],
)
def test_who_a_mail_may_be_sent_as(
    mail_from: str, from_: list[str], sender: list[str], report: bool, expected: NotOwned | None
) -> None:
    assert sender_not_owned(OWNED, mail_from=mail_from, from_=from_, sender=sender, report=report) == expected

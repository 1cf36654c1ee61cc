"""Allow and block lists: what an entry means, and what all entries of an inbox and its account say together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.domain.lists import Entry, Hold, clean_entry, deciding, matches, verdict

ACCOUNT, INBOX = 0, 7
ALLOWED, BLOCKED, NOT_ALLOWED = None, Hold.BLOCKED, Hold.NOT_ALLOWED


def entry(text: str, *, direction: str = "receive") -> Entry:
    """`account allow example.com` as an Entry."""
    scope, kind, what = text.split()
    return Entry({"account": ACCOUNT, "inbox": INBOX}[scope], direction, kind, what)


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann@Example.COM ", "ann@example.com"),
        ("example.com", "example.com"),
        ("@example.com", "example.com"),
        ("*@example.com", "example.com"),
        (".example.com", ".example.com"),
        ("*.example.com", ".example.com"),
        ("@.example.com", ".example.com"),
        ("ann+news@example.com", "ann+news@example.com"),
        ("localhost", "localhost"),
        ("ann@agents.localhost", "ann@agents.localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("Ann@BÜCHER.example", "ann@xn--bcher-kva.example"),
        (".bücher.example", ".xn--bcher-kva.example"),
        ("*@bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("用户@example.com", "用户@example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ('"ann smith"@example.com', None),
        ('"a@b"@example.com', '"a@b"@example.com'),
    ],
)
def test_an_entry_is_kept_in_one_form(given_: str, kept: str | None) -> None:
    assert clean_entry(given_) == kept


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "@", ".", "*", "*.", "*@", "..", "ann@", "@@example.com", "ann@@example.com", "a@b@example.com",
        "ann@.example.com", "ann@*.example.com", "a*@example.com", "exa*mple.com", "*.*.com", "example..com",
        ".example..com", "-example.com", "exam ple.com", "ann@exam\tple.com", "Ann <ann@example.com>",
        "<ann@example.com>", "ann@example.com, bob@example.com", "https://example.com", "example.com/", "[127.0.0.1]",
        "ann@[127.0.0.1]", "\x00", "x" * 400, "a@" + "x" * 400, "bücher..example", "\ud800.example",
    ],
)  # fmt: skip
def test_what_is_neither_an_address_nor_a_domain_is_no_entry(text: str) -> None:
    assert clean_entry(text) is None


@pytest.mark.parametrize(
    ("rule", "address", "fits"),
    [
        ("ann@example.com", "ann@example.com", True),
        ("ann@example.com", "ANN@EXAMPLE.com", True),
        ("ann@example.com", "ann+news@example.com", True),
        ("ann@example.com", "anne@example.com", False),
        ("ann@example.com", "ann@sub.example.com", False),
        ("ann+news@example.com", "ann+news@example.com", True),
        ("ann+news@example.com", "ann@example.com", False),
        ("ann+news@example.com", "ann+other@example.com", False),
        ("example.com", "ann@example.com", True),
        ("example.com", "ann@sub.example.com", False),
        ("example.com", "ann@notexample.com", False),
        ("example.com", "example.com@other.org", False),
        (".example.com", "ann@example.com", True),
        (".example.com", "ann@a.b.example.com", True),
        (".example.com", "ann@notexample.com", False),
        (".example.com", "ann@example.com.evil.org", False),
        ("xn--bcher-kva.example", "ann@bücher.example", True),
        (".xn--bcher-kva.example", "ann@a.BÜCHER.example", True),
        ("ann@xn--bcher-kva.example", "Ann@bücher.example", True),
        ("example.com", "", False),
        (".com", "no-domain", False),
    ],
)
def test_which_addresses_an_entry_is_about(rule: str, address: str, fits: bool) -> None:
    assert matches(rule, address) is fits


@pytest.mark.parametrize(
    ("entries", "addresses", "expected"),
    [
        ([], ["ann@example.com"], ALLOWED),
        ([], [], ALLOWED),
        (["inbox block example.com"], ["ann@example.com"], BLOCKED),
        (["account block example.com"], ["ann@example.com"], BLOCKED),
        (["inbox block example.com"], ["ann@example.org"], ALLOWED),
        (["inbox allow example.com"], ["ann@example.com"], ALLOWED),
        (["inbox allow example.com"], ["ann@example.org"], NOT_ALLOWED),
        (["inbox allow example.com"], [], NOT_ALLOWED),
        # Both scopes must agree: an inbox is never wider than its account.
        (["account allow example.com", "inbox allow ann@example.org"], ["ann@example.org"], NOT_ALLOWED),
        (["account allow example.com", "inbox allow ann@example.org"], ["bob@example.com"], NOT_ALLOWED),
        (["account allow .example.com", "inbox allow ann@example.com"], ["ann@example.com"], ALLOWED),
        (["account allow example.com"], ["ann@example.com"], ALLOWED),
        # A block is stronger than any allowance, wherever either stands.
        (["inbox allow ann@example.com", "inbox block example.com"], ["ann@example.com"], BLOCKED),
        (["inbox allow ann@example.com", "account block example.com"], ["ann@example.com"], BLOCKED),
        (["account allow ann@example.com", "inbox block ann@example.com"], ["ann@example.com"], BLOCKED),
        # Incoming mail has two: who wrote it and who sent it. Either may be blocked, the author must be allowed.
        (["inbox block bad.org"], ["ann@example.com", "x@bad.org"], BLOCKED),
        (["inbox allow example.com"], ["x@bad.org", "ann@example.com"], NOT_ALLOWED),
        (["inbox allow example.com"], ["ann@example.com", "bounce@mailer.org"], ALLOWED),
    ],
)
def test_what_all_entries_say_together(entries: list[str], addresses: list[str], expected: Hold | None) -> None:
    assert verdict([entry(each) for each in entries], addresses) is expected


@pytest.mark.parametrize(
    ("send", "reply", "to_send", "to_reply"),
    [
        ([], [], ALLOWED, ALLOWED),
        (["inbox block example.com"], [], BLOCKED, BLOCKED),
        ([], ["inbox block example.com"], ALLOWED, BLOCKED),
        # A scope with a reply list of any kind no longer asks its send lists about answers.
        (["inbox block example.com"], ["inbox allow example.com"], BLOCKED, ALLOWED),
        (["inbox allow other.org"], ["inbox block other.org"], NOT_ALLOWED, ALLOWED),
        (["inbox allow example.com"], ["inbox allow other.org"], ALLOWED, NOT_ALLOWED),
        # Scope by scope: the account's send lists go on to decide where only the inbox has reply lists.
        (["account block example.com"], ["inbox allow example.com"], BLOCKED, BLOCKED),
        (["inbox block example.com"], ["account allow example.com"], BLOCKED, BLOCKED),
        (["account allow other.org"], ["account allow example.com"], NOT_ALLOWED, ALLOWED),
    ],
)
def test_answers_have_lists_of_their_own_or_those_of_sending(
    send: list[str], reply: list[str], to_send: Hold | None, to_reply: Hold | None
) -> None:
    entries = [entry(each, direction="send") for each in send] + [entry(each, direction="reply") for each in reply]
    assert verdict(deciding(entries, is_reply=False), ["ann@example.com"]) is to_send
    assert verdict(deciding(entries, is_reply=True), ["ann@example.com"]) is to_reply


_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True).filter(lambda text: text[2:4] != "--")
_DOMAIN = st.lists(_LABEL, min_size=1, max_size=4).map(".".join)
_LOCAL = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True)
_ADDRESS = st.builds("{}@{}".format, _LOCAL, _DOMAIN)
_ENTRIES = st.lists(
    st.builds(
        Entry,
        st.sampled_from([ACCOUNT, INBOX]),
        st.sampled_from(["send", "reply"]),
        st.sampled_from(["allow", "block"]),
        st.one_of(_ADDRESS, _DOMAIN, _DOMAIN.map(".{}".format)),
    ),
    max_size=6,
)


@given(st.text(max_size=60))
def test_a_clean_entry_is_clean(text: str) -> None:
    clean = clean_entry(text)
    assert clean is None or clean_entry(clean) == clean


@given(_ADDRESS)
def test_an_address_is_matched_by_itself_its_domain_and_all_above(address: str) -> None:
    _, _, domain = address.partition("@")
    assert clean_entry(address) == address
    assert matches(address, address)
    assert matches(domain, address)
    assert matches(f".{domain}", address)
    labels = domain.split(".")
    for at in range(1, len(labels)):
        above = ".".join(labels[at:])
        assert matches(f".{above}", address)
        assert not matches(above, address)


@given(_ENTRIES, _ADDRESS, st.booleans())
def test_order_never_decides_and_a_scope_only_narrows(entries: list[Entry], address: str, is_reply: bool) -> None:
    decides = deciding(entries, is_reply=is_reply)
    assert verdict(decides, [address]) is verdict(list(reversed(decides)), [address])
    per_scope = [verdict([each for each in decides if each.inbox_no == scope], [address]) for scope in (ACCOUNT, INBOX)]
    assert (verdict(decides, [address]) is None) == (per_scope == [None, None])
    blocked = Entry(INBOX, "send", "block", address)
    assert verdict([*decides, blocked], [address]) is Hold.BLOCKED

"""Addresses a user writes, addresses a header holds, and what may go out in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.address_headers import MAX_ADDRESSES, read_addresses, scan_addresses
from daimon_mcp.mail.addresses import Address, BadAddress, normalise, parse_address_list, same_mailbox


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@x.org", [Address("a@x.org")]),
        ("Ann <a@x.org>, b@y.org", [Address("a@x.org", "Ann"), Address("b@y.org")]),
        ('"Doe, Ann \\"A\\"" <a@x.org>,', [Address("a@x.org", 'Doe, Ann "A"')]),
        ("José Müller <j@BÜCHER.de>", [Address("j@xn--bcher-kva.de", "José Müller")]),
        ("用户@例え.jp", [Address("用户@xn--r8jz45g.jp")]),
        ("a+tag@localhost, b@mx.test, c@in.example, d@printer.local", None),
        ("a@agents.localhost", [Address("a@agents.localhost")]),
        ("", []),
    ],
)
def test_what_a_user_writes(text: str, expected: list[Address] | None) -> None:
    found = parse_address_list(text)
    if expected is None:
        expected = [Address(item.strip()) for item in text.split(",")]
    assert found == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ann", "the address has no domain"),
        ("a@x.org, , b@", "the second address has no domain"),
        ("a@x.org, " * 10 + "b@", "address 11 has no domain"),
        ("@x.org", "the address has no local part"),
        ("Doe, Ann <a@x.org>", "the first address has no domain"),
        ("a@x.org; b@y.org", "the address is not an email address"),
        ("a@intranet", "period"),
        ("a@[192.0.2.1]", "not an email address"),
        ("a@x.invalid", "special-use"),
        ("Ann <a@x.org", "does not look like"),
        ("Ann <a@x.org> <b@x.org>", "does not look like"),
        ('"Ann <a@x.org>', "quote"),
        ("a b@x.org", "not an email address"),
        ("a@x.org\r\nBcc: b@y.org", "control character"),
        ("Ann\x00 <a@x.org>", "control character"),
        ("Ann\x85 <a@x.org>", "control character"),
        ("Ann\u2028 <a@x.org>", "control character"),
        ("a@-x.org", "not an email address"),
    ],
)
def test_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address_list(text)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=20), st.text(max_size=20), st.booleans(), st.booleans())
def test_a_refusal_repeats_nothing_that_was_given(before: str, after: str, at: bool, named: bool) -> None:
    text = f"{before}qzx{'@' if at else ''}qzx{after}"
    given_address = f"Qzx <{text}>" if named else text
    said: list[str] = []
    for attempt in (lambda: parse_address_list(given_address), lambda: Address(text).header()):
        try:
            attempt()
        except BadAddress as refused:
            said.append(str(refused))
    assert not any("qzx" in words.lower() for words in said)
    assert all(words.isascii() for words in said)


@pytest.mark.parametrize(
    ("address", "header"),
    [
        (Address("a@x.org"), "a@x.org"),
        (Address("a@x.org", "Ann Lee"), "Ann Lee <a@x.org>"),
        (Address("a@x.org", "Lee, Ann"), '"Lee, Ann" <a@x.org>'),
        (Address("a@x.org", 'A "B" \\C'), '"A \\"B\\" \\\\C" <a@x.org>'),
        (Address("a@x.org", "Zoë"), "=?utf-8?q?Zo=C3=AB?= <a@x.org>"),
        (Address("a@x.org", "=?utf-8?q?x?="), "=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?= <a@x.org>"),
        (Address("a@BÜCHER.de", "x\r\nBcc: e@f.g"), '"x Bcc: e@f.g" <a@xn--bcher-kva.de>'),
        (Address('"a b"@x.org'), '"a b"@x.org'),
        (Address("用户@x.org"), "用户@x.org"),
    ],
)
def test_header_form(address: Address, header: str) -> None:
    assert address.header() == header


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "a@",
        "a@x.org\r\nBcc: b@y.org",
        "a@x.org>, <b@y.org",
        "a b@x.org",
        "a@x y",
        "a\u200b@x.org",
        "a\ud800@x.org",
    ],
)
def test_no_header_for_what_is_no_address(email: str) -> None:
    with pytest.raises(BadAddress):
        Address(email).header()


def test_normalise_and_same_mailbox() -> None:
    assert normalise(" Ann.Lee@BÜCHER.De ") == "Ann.Lee@xn--bcher-kva.de"
    assert normalise("ann") == "ann"
    assert same_mailbox("Ann@X.org", "ann@x.ORG")
    assert same_mailbox("a@bücher.de", "A@XN--bcher-kva.de")
    assert not same_mailbox("a@x.org", "a+b@x.org")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a@x.org", [[None, None, "a", "x.org"]]),
        (b'"Lee, Ann" <a@x.org>, Bob <b@y>', [["Lee, Ann", None, "a", "x.org"], ["Bob", None, "b", "y"]]),
        (
            b"Team: a@x, b@y;, c@z",
            [
                [None, None, "Team", None],
                [None, None, "a", "x"],
                [None, None, "b", "y"],
                [None, None, None, None],
                [None, None, "c", "z"],
            ],
        ),
        (b"undisclosed-recipients:;", [[None, None, "undisclosed-recipients", None], [None, None, None, None]]),
        (b"<@r1,@r2:a@x>", [[None, "@r1,@r2", "a", "x"]]),
        (
            b"<@r1:a@x, b@y>, <@r2,@r3:c@z>",
            [[None, "@r1", "a", "x"], [None, None, "b", "y"], [None, "@r2,@r3", "c", "z"]],
        ),
        (b"a@x:, Team: b@y;", [[None, None, "a", "x"], [None, None, "Team", None], [None, None, "b", "y"], [None] * 4]),
        (b'"a@b": c@z;', [[None, None, "a@b", None], [None, None, "c", "z"], [None] * 4]),
        (b"a@x (Ann (the) Lee)", [["Ann (the) Lee", None, "a", "x"]]),
        (b"=?utf-8?q?Zo=C3=AB?= <z@x>", [["=?utf-8?q?Zo=C3=AB?=", None, "z", "x"]]),
        (b"root", [[None, None, "root", ""]]),
        (b"Ann a@x", [["Ann", None, "a", "x"]]),
        (b'"ann@home" <a@x', [["ann@home", None, "a", "x"]]),
        (b"", []),
    ],
)
def test_what_a_header_says(raw: bytes, expected: list[list[str | None]]) -> None:
    assert scan_addresses(raw) == expected


def test_names_are_decoded_after_the_list_is_taken_apart() -> None:
    raw = b'=?utf-8?q?Lee=2C_Zo=C3=AB?= <z@x.org>,\r\n "john doe"@y.org'
    assert read_addresses(raw) == (Address("z@x.org", "Lee, Zoë"), Address('"john doe"@y.org'))


def test_an_endless_list_is_cut() -> None:
    assert len(read_addresses(b"a@x.org," * (2 * MAX_ADDRESSES))) == MAX_ADDRESSES


@given(st.binary(max_size=300))
def test_any_header_is_read(raw: bytes) -> None:
    for address in read_addresses(raw):
        assert address.email
        assert "\n" not in address.email + address.name
        try:
            header = address.header()
        except BadAddress:
            continue
        assert "\n" not in header
        assert "\r" not in header


@given(st.text(max_size=40), st.text(max_size=40))
def test_header_form_is_one_safe_line_and_reads_back(name: str, local: str) -> None:
    address = Address(f"{local}@x.org", name)
    try:
        header = address.header()
    except BadAddress:
        return
    assert not {"\r", "\n", "\x00"} & set(header)
    [back] = read_addresses(header.encode())
    assert back.email == normalise(address.email)


@given(st.text(max_size=80))
def test_user_input_gives_addresses_or_a_reason(text: str) -> None:
    try:
        found = parse_address_list(text)
    except BadAddress as refused:
        reason = str(refused)
        found = []
    else:
        reason = ""
    assert "\n" not in reason
    for address in found:
        address.header().encode()

"""The body as a person sees it, of text/plain and HTML together: what nobody sees asks for nothing."""

from __future__ import annotations

import pytest

from daimon_mcp.mail.findings import Findings, find
from daimon_mcp.mail.seen import MAX_ANCHORS, MAX_HTML_PARTS, Seen, Stretch, see

_CODE = "Your verification code is 481 923.\n\nSign in:\nhttps://evil.example/login?token=abc123def456"


def found_in(seen: Seen) -> Findings:
    return find(
        seen,
        subject="Sign in",
        from_domain="acme.example",
        is_reply=True,
        bulk=False,
        header_code=None,
        invite=None,
        bounce=None,
    )


@pytest.mark.parametrize("html", ["<img src=https://acme.example/all.png width=600>", "", "<p hidden>x</p>"])
def test_plain_text_beside_html_without_words_asks_for_nothing(html: str) -> None:
    seen = see([Stretch(_CODE, html)])
    found = found_in(seen)
    assert seen.text == _CODE
    assert (seen.alt_mismatch, found.facts["alt_mismatch"], found.facts["text_only_plain"]) == (True, True, True)
    assert "codes" not in found.facts
    assert [(link["url"], link["is_cta"]) for link in found.links] == [
        ("https://evil.example/login?token=abc123def456", False)
    ]


def test_what_is_seen_beside_it_still_asks() -> None:
    seen = see([Stretch("Code 555 111", "<img src=x width=9>"), Stretch(_CODE)])
    found = found_in(seen)
    assert [code["value"] for code in found.facts["codes"]] == ["481923"]
    assert [link["is_cta"] for link in found.links] == [True]


def test_linked_pictures_are_links_and_the_plain_form_is_the_text() -> None:
    html = "<a href=https://acme.example/verify?token=abc123def456><img src=x width=90 alt='Verify email'></a>"
    seen = see([Stretch("Verify: https://evil.example/", html)])
    assert seen.text == "Verify: https://evil.example/"
    assert [link["url"] for link in found_in(seen).links] == [
        "https://acme.example/verify?token=abc123def456",
        "https://evil.example/",
    ]


def test_the_plain_form_of_the_same_words_keeps_its_line_breaks() -> None:
    seen = see([Stretch("One two\nthree.\n\n> four", "<p>One two three.</p><blockquote>four</blockquote>")])
    assert (seen.text, seen.alt_mismatch, seen.unseen) == ("One two\nthree.\n\n> four", False, frozenset())


@pytest.mark.parametrize(
    ("plain", "html"),
    [
        pytest.param(
            "Log in: https://evil.example/login?token=abc123def456",
            "<p>Log in: https evil example login token abc123def456</p>",
            id="url",
        ),
        pytest.param("Go to evil.example", "<p>Go to evil example</p>", id="host"),
        pytest.param("Fine.\n> Not fine.", "<p>Fine.</p><p>Not fine.</p>", id="quote mark"),
        pytest.param("Fine.\n-- \nNot fine.", "<p>Fine. -- Not fine.</p>", id="signature"),
        pytest.param("Fine.\n> Not.\n> fine", "<p>Fine. Not.</p><blockquote>fine</blockquote>", id="more quoted"),
        pytest.param("word " * 50_000 + "poison", "<p>" + "word " * 50_000 + "</p>", id="tail"),
    ],
)
def test_what_only_the_plain_form_says_is_not_shown(plain: str, html: str) -> None:
    seen = see([Stretch(plain, html)])
    assert seen.text == see([Stretch(None, html)]).text
    assert "://" not in seen.text
    assert "poison" not in seen.text


def test_numbers_of_links_go_through_all_parts() -> None:
    one, two = "<p><a href=http://a.example/>one</a></p>", "<p><a href=http://b.example/>two</a></p>"
    seen = see([Stretch(html=one), Stretch("plain"), Stretch(html=two + one)])
    assert seen.text == "one [1]\n\nplain\n\ntwo [2]\n\none [1]"
    assert [link["n"] for link in found_in(seen).links] == [1, 2]
    assert [seen.lines[anchor.line].text for anchor in seen.anchors or ()] == ["one", "two", "one"]


def test_a_mail_has_so_many_links_and_no_more() -> None:
    part = "".join(f"<p><a href=http://a.example/{number}>v</a></p>" for number in range(3_000))
    seen = see([Stretch(html=part), Stretch(html=part.replace("a.example", "b.example")), Stretch(html=part)])
    assert seen.anchors is not None
    assert len(seen.anchors) == MAX_ANCHORS
    assert "links were cut" in seen.warnings
    assert seen.text.count("v") == 9_000
    assert f"v [{MAX_ANCHORS}]" in seen.text
    assert f"[{MAX_ANCHORS + 1}]" not in seen.text


def test_html_parts_beyond_the_limit_give_their_plain_form_and_ask_for_nothing() -> None:
    seen = see([Stretch(html="<p>x</p>")] * MAX_HTML_PARTS + [Stretch(_CODE, "<p>y</p>"), Stretch(html="<p>z</p>")])
    assert seen.text.count("x\n") == MAX_HTML_PARTS
    assert (seen.text.endswith(_CODE), "html was cut" in seen.warnings) == (True, True)
    assert "codes" not in found_in(seen).facts

"""Hosts, registrable domains, secrets and click counters, told from a URL alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.url_facts import registrable_domain, shown_host, url_facts


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("acme.example", "acme.example"),
        ("a.b.acme.com", "acme.com"),
        ("Login.Acme.CO.UK.", "acme.co.uk"),
        ("a.b.acme.com.br", "acme.com.br"),
        ("acme.github.io", "acme.github.io"),
        ("co.uk", "co.uk"),
        ("a.www.ck", "www.ck"),
        ("a.b.c.kawasaki.jp", "b.c.kawasaki.jp"),
        ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("203.0.113.9", "203.0.113.9"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_registrable_domain(host: str, domain: str) -> None:
    assert registrable_domain(host) == domain


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://a.example/verify?token=abcd1234", True),
        ("https://a.example/go?t=4f3ba10b5ca9e38e", True),
        ("https://a.example/confirm/55fc0e41d90145272bc5589d9385c08c", True),
        ("https://a.example/#/reset?code=abcd1234", True),
        ("https://a.example/invoice-url", False),
        ("https://a.example/?utm_source=mail&utm_campaign=spring", False),
        ("https://a.example/blog/how-we-built-our-new-office", False),
        ("https://a.example", False),
    ],
)
def test_secrets(url: str, secret: bool) -> None:
    assert url_facts(url).secret is secret


def test_parts() -> None:
    facts = url_facts("HTTPS://user:pw@Login.Acme.example:8443/a/b?x=1#/route?y=2")
    assert (facts.scheme, facts.host, facts.path, facts.query) == (
        "https",
        "login.acme.example",
        "/a/b#/route",
        "x=1&y=2",
    )
    assert url_facts("mailto:a@b.example").host == ""
    assert url_facts("no url").scheme == ""


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https:///evil.example/bank", "evil.example"),
        ("https:\\\\evil.example\\bank", "evil.example"),
        ("https:evil.example", "evil.example"),
        ("https://evil.example\\@bank.example/", "evil.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("https://bank.example:pw@x@evil.example:8443/", "evil.example"),
        ("https://" + "bank.example." * 300 + "@evil.example/", "evil.example"),
        ("https://%65vil%2Eexample/", "evil.example"),
        ("https://evil\uff0eexample/", "evil.example"),
        ("https://evil\u3002example\uff61/", "evil.example"),
        ("https://\uff25vil\u00ad.example:/", "evil.example"),
        ("https://b\u00fccher.example", "b\u00fccher.example"),
        ("https://0x7f.1/", "127.0.0.1"),
        ("https://2130706433/", "127.0.0.1"),
        ("https://0177.0.0.1./", "127.0.0.1"),
        ("https://[2001:DB8::1]:443/", "[2001:db8::1]"),
        ("https://", ""),
        ("https:///", ""),
        ("https://@/", ""),
        ("https://?a.example", ""),
        ("https://a.example:99999/", ""),
        ("https://a.example:x/", ""),
        ("https://a%2Fb.example/", ""),
        ("https://a%zz.example/", ""),
        ("https://1.2.3.4.5/", ""),
        ("https://256.1.1.1/", ""),
        ("https://[zz]/", ""),
        ("https://" + "a" * 20_000, ""),
    ],
)
def test_host_is_the_one_that_browsers_go_to(url: str, host: str) -> None:
    assert url_facts(url).host == host


@pytest.mark.parametrize(
    ("url", "tracker", "target"),
    [
        ("https://u1.ct.sendgrid.net/ls/click?upn=u001.abc", True, ""),
        ("https://acme.us1.list-manage.com/track/click?u=1&id=2", True, ""),
        ("https://x.awstrack.me/L0/https:%2F%2Facme.example%2Fverify/1/0100", True, "https://acme.example/verify"),
        ("https://www.google.com/url?q=https://acme.example/a", True, "https://acme.example/a"),
        ("https://click.acme.example/abc", True, ""),
        ("https://acme.example/verify?url=https://acme.example/a", False, ""),
        ("https://notsendgrid.net/", False, ""),
    ],
)
def test_click_counters(url: str, tracker: bool, target: str) -> None:
    facts = url_facts(url)
    assert (facts.tracker, facts.target) == (tracker, target)


@pytest.mark.parametrize(
    ("label", "host"),
    [
        ("https://acme.example/x", "acme.example"),
        ("www.acme.com", "acme.com"),
        ("acme.co.uk/login", "acme.co.uk"),
        ("shop\uff0eexample", "shop.example"),
        ("shop\u3002example", "shop.example"),
        ("shop\uff61example/login", "shop.example"),
        ("\uff53hop\u200b.example", "shop.example"),
        ("https://bank.example@evil.example/", "bank.example"),
        ("https://www.bank.example:pw@evil.example/", "bank.example"),
        ("https://nora@acme.example/", "acme.example"),
        ("https:\\\\bank.example\\login", "bank.example"),
        ("https:///bank.example", "bank.example"),
        ("bank.example:443", "bank.example"),
        ("README.md.txt", ""),
        ("Sign in", ""),
        ("see acme.com", ""),
        ("", ""),
    ],
)
def test_shown_host(label: str, host: str) -> None:
    assert shown_host(label) == host


@given(st.text(max_size=200) | st.text(max_size=50).map("https://".__add__))
def test_any_text_is_taken(text: str) -> None:
    facts = url_facts(text)
    assert not set(facts.host) & set(" /\\?#@<>%")
    assert url_facts(f"https://{facts.host}/").host == facts.host
    registrable_domain(facts.host)
    registrable_domain(text)
    shown_host(text)

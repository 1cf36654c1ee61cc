"""Subjects, References and quotes of replies and forwards."""

from __future__ import annotations

import pytest

from daimon_mcp.mail.addresses import Address
from daimon_mcp.mail.compose import (
    base_subject,
    forward_subject,
    quote_for_forward,
    quote_for_reply,
    quote_html_for_reply,
    reply_references,
    reply_subject,
)

ANN = Address("a@x.org", "Ann")
NINE = 1_795_251_600_000_000  # 2026-11-21T09:00:00Z


@pytest.mark.parametrize(
    ("subject", "reply", "forward", "base"),
    [
        ("Tea", "Re: Tea", "Fwd: Tea", "Tea"),
        ("Re: Tea", "Re: Tea", "Fwd: Re: Tea", "Tea"),
        ("RE: re: Aw: Sv: Antw: Tea", "Re: Tea", "Fwd: RE: re: Aw: Sv: Antw: Tea", "Tea"),
        ("Re[2]: Tea", "Re: Tea", "Fwd: Re[2]: Tea", "Tea"),
        ("Fw: Fwd: WG: Tea", "Re: Fw: Fwd: WG: Tea", "Fwd: Tea", "Tea"),
        ("Re: [list] Re: Tea (fwd)", "Re: [list] Re: Tea (fwd)", "Fwd: Re: [list] Re: Tea (fwd)", "Tea"),
        ("[Fwd: Re: Tea]", "Re: [Fwd: Re: Tea]", "Fwd: [Fwd: Re: Tea]", "Tea"),
        ("回复：答复: Tea", "Re: Tea", "Fwd: 回复：答复: Tea", "Tea"),
        ("Regarding: Tea", "Re: Regarding: Tea", "Fwd: Regarding: Tea", "Regarding: Tea"),
        ("Re: ", "Re:", "Fwd: Re:", ""),
        ("", "Re:", "Fwd:", ""),
        ("[only a tag]", "Re: [only a tag]", "Fwd: [only a tag]", "[only a tag]"),
        ("Tea\r\nBcc: x", "Re: Tea Bcc: x", "Fwd: Tea Bcc: x", "Tea Bcc: x"),
    ],
)
def test_subjects(subject: str, reply: str, forward: str, base: str) -> None:
    assert reply_subject(subject) == reply
    assert forward_subject(subject) == forward
    assert base_subject(subject) == base


def test_references_of_a_reply() -> None:
    assert reply_references("<c@x>", ("<a@x>", "<b@x>"), "<b@x>") == ("<a@x>", "<b@x>", "<c@x>")
    assert reply_references("<c@x>", (), "<b@x>") == ("<b@x>", "<c@x>")
    assert reply_references("<c@x>", (), None) == ("<c@x>",)
    assert reply_references("<a@x>", ("<a@x>", "<b@x>"), None) == ("<b@x>", "<a@x>")
    long = reply_references("<z@x>", tuple(f"<{n}@x>" for n in range(50)), None)
    assert len(long) == 20
    assert (long[0], long[-2], long[-1]) == ("<0@x>", "<49@x>", "<z@x>")


def test_quote_for_a_reply() -> None:
    assert quote_for_reply("One\r\n\r\n> Two\r\n", ANN, NINE) == (
        "On 2026-11-21 09:00 UTC, Ann <a@x.org> wrote:\n> One\n>\n>> Two"
    )
    assert quote_for_reply("x", Address("b@x.org", "B\nEvil"), NINE).startswith(
        "On 2026-11-21 09:00 UTC, B Evil <b@x.org> wrote:\n> x"
    )


def test_quote_in_html_is_escaped() -> None:
    html = quote_html_for_reply("<p>New</p>", "<script>1</script>\nx", Address("a@x.org", "<b>"), NINE)
    assert html.startswith("<p>New</p>\n")
    assert "<script>" not in html
    assert "&lt;b&gt; &lt;a@x.org&gt; wrote:" in html
    assert '<blockquote type="cite">&lt;script&gt;1&lt;/script&gt;<br>\nx</blockquote>' in html


def test_forwarded_block() -> None:
    block = quote_for_forward(
        from_=ANN, to=[Address("b@y.org")], cc=[Address("c@y.org", "Cy")], date=NINE, subject="Tea", text="Words\r\n"
    )
    assert block == (
        "---------- Forwarded message ----------\nFrom: Ann <a@x.org>\nDate: 2026-11-21 09:00 UTC\nSubject: Tea\n"
        "To: b@y.org\nCc: Cy <c@y.org>\n\nWords"
    )

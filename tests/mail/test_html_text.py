"""HTML to the words a person sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.html_text import Link, html_to_text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("a<br>b<br><br>c", "a\nb\n\nc"),
        ("<div>a<div>b</div></div>c", "a\nb\nc"),
        ("a &lt;b&gt; &amp;&nbsp;&#8364;", "a <b> & €"),
        ("<table><tr><td>Tea<td>2 €<tr><td>Cake</td><td>3 €</td></tr></table>", "Tea 2 €\nCake 3 €"),
        ("<ul><li>one<li>two</ul>", "- one\n- two"),
        ("<blockquote>q<blockquote>r</blockquote></blockquote>s", "> q\n>\n> > r\n\ns"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("one\n  two", "one two"),
        ("1 < 2 and <3", "1 < 2 and <3"),
        ("<b", ""),
        ("x<!-- <p>y</p> -->z", "xz"),
        ("x<!-- never closed", "x"),
        ("<![if !mso]>shown<![endif]>", "shown"),
        ("<head><title>t</title><style>p{}</style><body>b", "b"),
        ("<script>if (a < b) '</p>'</SCRIPT >x", "x"),
        ("<style>never closed <p>x", ""),
        ('<p hidden>a</p><p style="DISPLAY : none !important">b</p><p>c', "c"),
        ('<div style="visibility:hidden"><div>a</div>b</div>c', "c"),
        ('<span style="font-size: 0px">a</span><i style="font-size:0.0">b</i>c', "c"),
        ('<span style="font-size:0.8em">a</span>', "a"),
        ('<p hidden>a<p>b<div style="display:none">c', "b"),
        ("<img src=x alt='picture'>a", "a"),
        ("<td hidden>a</td><template>b</template><svg><text>c</text></svg>d", "d"),
        ('<a title="a>b" href="mailto:a@x">w</a>', "w"),
    ],
)
def test_what_is_seen(source: str, text: str) -> None:
    assert html_to_text(source)[0] == text


def test_links_stand_beside_their_words() -> None:
    text, links = html_to_text(
        '<a href="https://x.example/a?b=1&amp;c=2">Open</a> <a href=https://y.example/>y.example</a>'
        '<a href="https://z.example"><img src=b></a><a href="javascript:x()">no</a>'
        '<a href="https://h.example" hidden>h</a>'
    )
    assert text == "Open (https://x.example/a?b=1&c=2) y.exampleno"
    assert links == [
        Link("https://x.example/a?b=1&c=2", "Open"),
        Link("https://y.example/", "y.example"),
        Link("https://z.example", ""),
    ]


_PIECES = st.sampled_from(
    "< > </ <!-- --> <! <? <p|hidden> </p> <a|href='http://x'> </a> <pre> </pre> <blockquote> </blockquote> <style> "
    "</style> &#x110000; &#0; & ' \" = <td> w".replace("|", "\n").split(" ")
)


@given(st.lists(_PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_html_gives_clean_text(source: str) -> None:
    text, _ = html_to_text(source)
    text.encode()
    assert "\x00" not in text

"""Words that a mail hides do not come out; words that look hidden to a careless rule do."""

from __future__ import annotations

import pytest
from tests.mail.hidden_tricks import FIRST_SET, PAYLOAD, SECOND_SET, THIRD_SET, VISIBLE, Trick

from daimon_mcp.mail.html_clean import clean_html
from daimon_mcp.mail.html_render import Budget, render_html

TRICKS = FIRST_SET + SECOND_SET + THIRD_SET
# These hold their words where no text is, or too few of them to be told from a template's notes.
UNREPORTED = {
    "comment", "conditional comment", "hidden input", "alt", "title", "variation selectors", "override",
    "title element", "bogus comment", "unfinished comment", "bdo", "bidi-override",
    "end tag in a comment", "null in a comment", "slash in a comment", "crowded in a comment",
}  # fmt: skip


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_names_are_unique() -> None:
    assert len({trick.name for trick in TRICKS}) == len(TRICKS)
    assert len(FIRST_SET) >= 92
    assert len(SECOND_SET) >= 40
    assert len(THIRD_SET) >= 80


@pytest.mark.parametrize("trick", TRICKS, ids=[trick.name for trick in TRICKS])
def test_a_hidden_text_does_not_come_out(trick: Trick) -> None:
    view = render_html(trick.html)
    text = one_line(view.text())
    assert PAYLOAD not in text
    assert VISIBLE in text
    reported = " ".join(each.text for each in view.hidden)
    assert (PAYLOAD in reported) == (trick.name not in UNREPORTED)
    cleaned = one_line(clean_html(trick.html))
    assert PAYLOAD not in cleaned
    assert VISIBLE in cleaned


SEEN = (
    "<div style='font-size:0'><table style='font-size:14px'><tr><td>{}</td></tr></table></div>",
    "<div style='visibility:hidden'><p style='visibility:visible'>{}</p></div>",
    "<div style='color:#fff;background:#fff'><p style='background:#036'>{}</p></div>",
    "<td background='hero.jpg' style='color:#ffffff'>{}</td>",
    "<div style='background-image:url(hero.jpg);color:#fff'>{}</div>",
    "<div style='background:linear-gradient(#036,#69c);color:#fff'>{}</div>",
    "<style>.b{{background:#000}}</style><div class=b><span style='color:#fff'>{}</span></div>",
    "<style>@media (max-width:600px){{.m{{display:none}}}}</style><p class=m>{}</p>",
    "<style>@media print{{p{{display:none}}}}</style><p>{}</p>",
    "<style>@media (prefers-color-scheme:dark){{p{{color:#fff}}}}</style><p>{}</p>",
    "<style>p:hover{{display:none}}</style><p>{}</p>",
    "<style>.x{{display:none}}.x{{display:block}}</style><p class=x>{}</p>",
    "<style>.x{{display:none}}</style><p class=x style='display:block'>{}</p>",
    "<style>#a .x{{display:none}}</style><p class=x>{}</p>",
    "<style>p::before{{display:none}}</style><p>{}</p>",
    "<style>.q:bogus,p{{display:none}}</style><p>{}</p>",
    "<!doctype html><style>.HIDE{{display:none}}</style><p class=hide>{}</p>",
    "<p style='display:none;display:block'>{}</p>",
    "<p style='display:bogus'>{}</p>",
    "<p style='dis/**/play:none'>{}</p>",
    "<p style='content:\"display:none;\"'>{}</p>",
    "<p style='background:url(x;display:none;)'>{}</p>",
    "<p style='mso-hide:all'>{}</p>",
    "<p style='text-indent:-20px;padding-left:20px'>{}</p>",
    "<p style='margin-left:-30px'>{}</p>",
    "<p style='position:absolute;left:-10px'>{}</p>",
    "<span style='height:0;overflow:hidden'>{}</span>",
    "<table><tr><td style='height:0;overflow:hidden'>{}</td></tr></table>",
    "<div style='height:0;padding:10px;overflow:hidden'>{}</div>",
    "<div style='height:0'>{}</div>",
    "<div style='max-height:none;overflow:hidden'>{}</div>",
    "<div style='height:100%;overflow:hidden'>{}</div>",
    "<p style='clip:rect(0,0,0,0)'>{}</p>",
    "<p style='clip-path:inset(5%)'>{}</p>",
    "<p style='transform:scale(.9) rotate(90deg)'>{}</p>",
    "<p style='opacity:.4'>{}</p>",
    "<p style='color:#bbb'>{}</p>",
    "<p style='color:rgba(0,0,0,.5)'>{}</p>",
    "<p style='font-size:9px'>{}</p>",
    "<p style='font:bold 12px/0 Arial'>{}</p>",
    "<p aria-hidden=true>{}</p>",
    "<details open><summary>a</summary>{}</details>",
    "<details><summary>{}</summary>a</details>",
    "<dialog open>{}</dialog>",
    "<!--[if !mso]><!--><p>{}</p><!--<![endif]-->",
    "<![if !mso]><p>{}</p><![endif]>",
    "<!--[if mso]><table><tr><td><![endif]--><p>{}</p><!--[if mso]></td></tr></table><![endif]-->",
    "</body></html><p>{}</p>",
    "<html><head><title>t</title></head><body>a</body></html>{}",
    "<div/>{}",
    "<style>a{{color:red</style><p>{}</p>",
    "<a href='https://example.com' style='color:#fff;background:#06c'>{}</a>",
    "<body bgcolor=#000000 text=#ffffff>{}",
    "<font color=white><table bgcolor=navy><tr><td><font color=white>{}</font></table></font>",
    "<div style='font-size:0'><table><tr><td>{}</table></div>",  # in quirks mode a table starts anew
    "<p style='--a:none;display:var(--b)'>{}</p>",
    "<ul style='list-style:none;text-indent:0'><li>{}</ul>",
    "<style>a{{}}</style><b>{}</b>",
    "<style>a{{}}</style><a href=x>{}</a><style>b{{}}</style>",
    "<b>a<p>b</p></b><p>{}</p>",
    "<br/><img src=x /><p>{}</p></body ></html>",
    "</body class=x><p>{}</p>",
    "<select><option>a</option></select><p>{}</p>",
    "<select><option>a<input><p>{}</p>",
    "<style>@supports (display:grid){{.x{{display:block}}}}</style><p class=x>{}</p>",
    "<style>@supports not (display:grid){{.x{{display:none}}}}</style><p class=x>{}</p>",
    "<style>@supports (-ms-ime-align:auto){{.x{{display:none}}}}</style><p class=x>{}</p>",
    "<style>@-moz-document url-prefix(){{.x{{display:none}}}}</style><p class=x>{}</p>",
    "<style>@layer a{{.x{{display:none}}}}.x{{display:block}}</style><p class=x>{}</p>",
    "<style>@layer a,b;@layer b{{.x{{display:block}}}}@layer a{{.x{{display:none}}}}</style><p class=x>{}</p>",
    "<style>@keyframes k{{from{{opacity:0}}to{{opacity:1}}}}.x{{animation:k 1s both}}</style><p class=x>{}</p>",
    "<style><!-- .x{{display:none}} .x{{display:block}} --></style><p class=x>{}</p>",
    "<p style='--a:block;display:none;display:var(--a)'>{}</p>",
    "<p style='color:windowtext'>{}</p>",
    "<p style='color:#fff;background:#000 url(a.png) no-repeat center / cover'>{}</p>",
    "<p style='color:#fff;background:navy none repeat scroll 0 0'>{}</p>",
    "<div style='position:absolute;left:50%;margin-left:-400px'>{}</div>",
    "<div style='position:absolute;left:50%;transform:translate(-50%,-50%)'>{}</div>",
    "<div style='margin:0 -15px'><div style='margin:0 -15px'><p>{}</p></div></div>",
    "<div style='zoom:.8'><p style='zoom:.8'>{}</p></div>",
    "<marquee>{}</marquee>",
    "<style>:lang(fr){{display:none}}</style><p lang=en>{}</p>",
)


@pytest.mark.parametrize("shape", SEEN)
def test_what_can_be_seen_comes_out(shape: str) -> None:
    assert "plain words" in one_line(render_html(shape.format("plain words")).text())
    assert "plain words" in one_line(clean_html(shape.format("plain words")))


def test_style_sheets_that_are_too_much_work_are_left_out_and_said_so() -> None:
    sheet = "".join(f".a{number} div div div div{{color:red}}" for number in range(50)) * 40
    classes = " ".join(f"a{number}" for number in range(50))
    view = render_html(
        f"<style>{sheet}</style><p class='{classes}'></p>{'<div>' * 200}"
        f"x<p style='display:none'>{PAYLOAD}</p>{'<p>y' * 200}"
    )
    assert any("style sheets" in each for each in view.warnings)
    assert PAYLOAD not in view.text()
    assert view.text().startswith("x")


def test_reversed_text_is_flagged_and_given_as_it_is_seen() -> None:
    view = render_html("<p>\u202eesrever\u202c and on</p><p>\u202eone</p><p>two</p>")
    assert view.text() == "reverse and on\n\neno\n\ntwo"
    assert any("direction" in each for each in view.warnings)
    assert render_html("<p dir=rtl>\u05e9\u05dc\u05d5\u05dd</p>").warnings == ()


def test_what_cannot_be_found_out_is_reported_before_all_else() -> None:
    sheet = ".a{color:red}" * 40_000
    view = render_html(f"<style>{sheet}</style><p hidden>{PAYLOAD}</p><p>x</p>")
    assert view.hidden[0].how == "display"
    assert not view.hidden[0].preheader
    assert len(view.hidden[0].text) > 40
    assert view.hidden[1].text == PAYLOAD
    assert view.text() == "x"


def test_the_parts_of_a_mail_share_one_budget() -> None:
    page = "<style>.x{display:none}</style>" + f"<p class=x>{PAYLOAD}</p><p>x</p>" * 20
    budget = Budget()
    before = budget.left
    assert render_html(page, budget=budget).warnings == ()
    assert budget.left < before
    empty = Budget(1)
    for _ in range(2):
        assert any("style sheets" in each for each in render_html(page, budget=empty).warnings)

"""Texts: their form, their slots, and an operator's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp import texts
from daimon_mcp.texts import BadText, MissingSlot, Text, Texts, parse, render, render_bullets, slots

REFUSAL = """\
<!-- For writers:
# not a heading -->
# message
Sending email needs a paid tier;
this account is on {tier}.

# next_steps
- Show the link
  to your operator.
- {?retry_after}Wait {retry_after} seconds.

- Then call {call:send_email} again.
"""


def call(name: str) -> str:
    return f"the {name} tool"


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the texts we ship."""
    folder = tmp_path / "ours"
    (folder / "refusals").mkdir(parents=True)
    (folder / "README.md").write_text("no text\n")
    (folder / "instructions.md").write_text("# text\nBe kind.\n")
    (folder / "refusals" / "SEND_REQUIRES_PAID.md").write_text(REFUSAL)
    (folder / "refusals" / "INTERNAL.md").write_text("# message\nWe failed; look up {error_id}.\n")
    monkeypatch.setattr(texts, "our_folder", lambda: folder)
    return folder


# ── the form


def test_headings_are_fields_of_prose_or_bullets() -> None:
    text = parse("refusals/X.md", REFUSAL)
    assert text == Text(
        "refusals/X.md",
        {
            "message": "Sending email needs a paid tier; this account is on {tier}.",
            "next_steps": (
                "Show the link to your operator.",
                "{?retry_after}Wait {retry_after} seconds.",
                "Then call {call:send_email} again.",
            ),
        },
    )
    assert text.prose("message").startswith("Sending")
    assert len(text.bullets("next_steps")) == 3
    assert (text.prose("agent_script"), text.bullets("more")) == ("", ())
    with pytest.raises(BadText, match="'message' is prose"):
        text.bullets("message")
    with pytest.raises(BadText, match="'next_steps' is a list"):
        text.prose("next_steps")


def test_prose_keeps_paragraphs_and_the_lines_of_lists() -> None:
    source = "# text\n\nOne\ntwo.\n\nThen:\n- a\n- b,\n  or c\n1. d\n## Part\n    code\nlast\n\n"
    assert parse("x", source).prose("text") == "One two.\n\nThen:\n- a\n- b, or c\n1. d\n## Part\n    code last"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hello\n# message\nx\n", "text before the first heading"),
        ("# Message\nx\n", "'# Message' is no heading"),
        ("# message\nx\n# message\ny\n", "'message' is there twice"),
        ("# message\n\n# other\nx\n", "'message' is empty"),
        ("# message\n{Tier}\n", "'{Tier}' is no slot"),
        ("# message\n{ tier }\n", "'{ tier }' is no slot"),
        ("# message\n{}\n", "'{}' is no slot"),
        ("# message\na { b\n", "'{' is no slot"),
        ("# message\na } b\n", "'}' is no slot"),
        ("# message\n{call:}\n", "'{call:}' is no slot"),
        ("# message\n{?tier}now\n", "{?tier} may stand at the start of a bullet only"),
        ("# list\n- now {?tier}\n", "{?tier} may stand at the start of a bullet only"),
    ],
)
def test_what_is_not_of_the_form_is_refused_by_name(source: str, said: str) -> None:
    with pytest.raises(BadText) as raised:
        parse("refusals/X.md", source)
    assert str(raised.value).startswith("refusals/X.md: ")
    assert said in str(raised.value)


# ── slots


def test_slots_are_filled_in_one_pass() -> None:
    facts = {"tier": "{call:send_email} {link}", "link": "https://m.example/{tier}", "n": 0}
    assert render("{tier} and {link}, {n} times; {call:get_account}", facts, call) == (
        "{call:send_email} {link} and https://m.example/{tier}, 0 times; the get_account tool"
    )


def test_a_number_has_the_word_that_fits_it() -> None:
    template = "{shown|message matches|messages match}"
    for shown, said in ((0, "0 messages match"), (1, "1 message matches"), (21, "21 messages match")):
        assert render(template, {"shown": shown}, call) == said
    assert slots(parse("x", f"# message\n{template}\n")) == {"shown"}
    with pytest.raises(MissingSlot, match="shown"):
        render(template, {}, call)
    for wrong in ("{shown|message}", "{shown||messages}", "{shown|a|b|c}", "{call:a|b|c}"):
        with pytest.raises(BadText, match="is no slot"):
            parse("x", f"# message\n{wrong}\n")


def test_braces_written_twice_are_braces() -> None:
    assert render("{{{{name}}}} {{{tier}}}", {"tier": "pro"}, call) == "{{name}} {pro}"
    assert slots(parse("x", "# message\n{{{{name}}}} {{{tier}}}\n")) == {"tier"}


def test_a_slot_without_a_fact_is_an_error() -> None:
    for facts in ({}, {"tier": None}):
        with pytest.raises(MissingSlot, match="tier"):
            render("on {tier}", facts, call)


def test_optional_bullets_go_without_their_fact() -> None:
    bullets = parse("x", REFUSAL).bullets("next_steps")
    kept = ["Show the link to your operator.", "Then call the send_email tool again."]
    for facts in ({}, {"retry_after": None}, {"retry_after": ""}):
        assert render_bullets(bullets, facts, call) == kept
    assert render_bullets(bullets, {"retry_after": 0}, call)[1] == "Wait 0 seconds."
    both = "{?a}{?b} {a}{b}"
    assert render(both, {"a": 1, "b": 2}, call) == "12"
    assert render(both, {"a": 1}, call) == ""


def test_a_text_says_its_slots() -> None:
    assert slots(parse("x", REFUSAL)) == {"tier", "retry_after", "call:send_email"}


@given(st.text(), st.text())
def test_any_fact_comes_out_as_it_went_in(before: str, fact: str) -> None:
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert render(f"{escaped}{{fact}}!", {"fact": fact}, call) == f"{before}{fact}!"


@given(st.text(alphabet="# -{}?:acl\n1"))
def test_any_file_is_read_or_refused(source: str) -> None:
    try:
        text = parse("x", source)
    except BadText:
        return
    assert all(text.fields.values())
    for value in text.fields.values():
        for part in (value,) if isinstance(value, str) else value:
            render(part, dict.fromkeys(slots(text), "fact"), call)


# ── files


def test_texts_are_found_and_read_once(ours: Path) -> None:
    library = Texts()
    assert library.kinds() == ["", "refusals"]
    assert library.names("") == ["instructions"]
    assert library.names("refusals") == ["INTERNAL", "SEND_REQUIRES_PAID"]
    assert library.names("outcomes") == []
    assert library.text("", "instructions").prose("text") == "Be kind."
    first = library.text("refusals", "INTERNAL")
    (ours / "refusals" / "INTERNAL.md").unlink()
    assert library.text("refusals", "INTERNAL") is first


def test_a_missing_text_and_a_name_that_is_none_are_refused(ours: Path) -> None:
    (ours.parent / "secret.md").write_text("# message\nx\n")
    with pytest.raises(BadText, match=r"refusals/NO_SUCH\.md: there is no such text"):
        Texts().text("refusals", "NO_SUCH")
    for kind, name in (("..", "secret"), ("refusals", "../../secret"), ("refusals", ""), ("refusals", ".hidden")):
        with pytest.raises(BadText, match="cannot be the name of a text"):
            Texts().text(kind, name)


def test_an_operators_text_replaces_ours_field_by_field(ours: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "refusals").mkdir(parents=True)
    (theirs / "refusals" / "SEND_REQUIRES_PAID.md").write_bytes(b"\xef\xbb\xbf# message\r\nAsk Ada about {tier}.\r\n")
    library = Texts(theirs)
    text = library.text("refusals", "SEND_REQUIRES_PAID")
    assert text.prose("message") == "Ask Ada about {tier}."
    assert len(text.bullets("next_steps")) == 3
    assert library.text("refusals", "INTERNAL").prose("message").startswith("We failed")
    assert library.problems() == []
    assert ours.is_dir()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# message\non {teir}\n", "there is nothing to fill 'teir' with; the slots are: call:send_email, "),
        ("# mesage\nx\n", "'mesage' is no field of this text; it has message, next_steps"),
        ("# next_steps\nx\n", "'next_steps' must be a list"),
        ("# message\n- x\n", "'message' must be prose"),
        ("no heading\n", "text before the first heading"),
    ],
)
def test_what_an_operators_text_asks_for_in_vain_is_told_at_start(
    ours: Path, tmp_path: Path, content: str, said: str
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "refusals").mkdir(parents=True)
    file = theirs / "refusals" / "SEND_REQUIRES_PAID.md"
    file.write_text(content)
    [problem] = Texts(theirs).problems()
    assert problem.startswith(f"{file}: ")
    assert said in problem
    assert ours.is_dir()


def test_a_file_that_is_no_text_is_a_problem_and_not_a_crash(ours: Path) -> None:
    (ours / "refusals" / "BAD.md").write_bytes(b"# message\n\xff\n")
    (ours / "refusals" / "FOLDER.md").mkdir()
    assert [problem.partition(": ")[2].split(":")[0] for problem in Texts().problems()] == ["cannot be read"] * 2


def test_our_own_texts_are_all_usable() -> None:
    assert (texts.our_folder() / "README.md").is_file()
    assert Texts().problems() == []

"""One-time codes and action links against labelled mails: `python -m benchmarks.codes FOLDER`.

Floors run over the same mails: the first six digits, an English word beside digits, the first link, all links.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.corpora import folder_argument
from daimon_mcp.mail.action_links import find_links
from daimon_mcp.mail.codes import find_codes
from daimon_mcp.mail.html_render import render_html
from daimon_mcp.mail.html_view import Anchor, Line

Body = tuple[tuple[Line, ...], tuple[Anchor, ...] | None, str]
"""Lines as they are seen, anchors (None for plain text), the raw source."""

ENGLISH = re.compile(r"\b(?:code|otp|pin|passcode)\b\D{0,40}?\b(\d{4,8})\b", re.IGNORECASE)


def bodies(row: dict[str, Any]) -> list[tuple[str, Body]]:
    """The forms of a mail: `html` and `text`, each alone."""
    found: list[tuple[str, Body]] = []
    if row["html"]:
        view = render_html(row["html"])
        found.append(("html", (view.lines, view.anchors, row["html"])))
    if row["text"]:
        found.append(("text", (tuple(Line(line) for line in row["text"].splitlines()), None, row["text"])))
    return found


def ours(subject: str, body: Body) -> str | None:
    codes = find_codes(subject, body[0])
    return codes[0].value if codes else None


def first_six(subject: str, body: Body) -> str | None:
    found = re.search(r"\d{6}", body[2])
    return found.group() if found else None


def english_word(subject: str, body: Body) -> str | None:
    found = ENGLISH.search("\n".join(line.text for line in body[0]))
    return found.group(1) if found else None


def best_link(subject: str, body: Body) -> list[str]:
    asked = [link for link in find_links(subject, body[0], body[1]) if link.is_cta]
    return [link.url for link in sorted(asked, key=lambda link: -link.score)]


def first_link(subject: str, body: Body) -> list[str]:
    return all_links(subject, body)[:1]


def all_links(subject: str, body: Body) -> list[str]:
    return [link.url for link in find_links(subject, body[0], body[1]) if link.url.startswith("http")]


def code_row(
    name: str,
    mails: list[tuple[str, dict[str, Any], Body]],
    form: str,
    finder: Callable[[str, Body], str | None],
    *,
    subject: bool,
) -> list[str]:
    """Print right, wrong, missed and false; returns what went wrong, to look at."""
    counts = {"right": 0, "wrong": 0, "missed": 0, "false": 0}
    bad: list[str] = []
    without = 0
    for kind, row, body in mails:
        if kind != form:
            continue
        value, gold = finder(row["subject"] if subject else "", body), row["gold_code"]
        without += gold is None
        verdict = (
            ""
            if value is None and gold is None
            else ("false" if gold is None else "missed" if value is None else "right" if value == gold else "wrong")
        )
        if verdict:
            counts[verdict] += 1
        if verdict not in ("", "right"):
            bad.append(f"{verdict} {row['id']}: {value!r}, not {gold!r}")
    of = counts["right"] + counts["wrong"] + counts["missed"]
    print(
        f"  {name:34} right {counts['right']:3} of {of:3}   wrong {counts['wrong']:2}   missed {counts['missed']:2}"
        f"   false {counts['false']:2} of {without}"
    )
    return bad


def link_row(
    name: str, mails: list[tuple[str, dict[str, Any], Body]], form: str, finder: Callable[[str, Body], list[str]]
) -> list[str]:
    """Print how often the first is right, the set exact, the share found, the extra ones and the false ones."""
    asking = top = exact = found = wanted = extra = none = false = 0
    bad: list[str] = []
    for kind, row, body in mails:
        if kind != form:
            continue
        links, gold = finder(row["subject"], body), set(row["gold_cta"])
        extra += len(set(links) - gold)
        if not gold:
            none += 1
            false += bool(links)
            if links:
                bad.append(f"false {row['id']}: {links}")
            continue
        asking += 1
        top += bool(links) and links[0] in gold
        exact += set(links) == gold
        wanted += len(gold)
        found += len(gold & set(links))
        if set(links) != gold:
            bad.append(f"links {row['id']}: {links}, not {gold}")
    share = 100 / max(asking, 1)
    recall = 100 * found / max(wanted, 1)
    print(
        f"  {name:34} first right {top * share:5.1f} %   set exact {exact * share:5.1f} %   recall {recall:5.1f} %"
        f"   extra a mail {extra / max(asking + none, 1):.2f}   false {100 * false / max(none, 1):4.1f} % of {none}"
    )
    return bad


def main(folder: Path) -> None:
    """Run over `codes_and_links.jsonl` in a folder and print."""
    with (folder / "codes_and_links.jsonl").open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = [json.loads(line) for line in file]
    mails = [(form, row, body) for row in rows for form, body in bodies(row)]
    bad: list[str] = []
    for form in ("html", "text"):
        print(f"codes, {form}   (aim: all right but one, none wrong, none false; prototype: 156 of 157, 0, 0)")
        bad += code_row("ours, subject blanked", mails, form, ours, subject=False)
        bad += code_row("ours, with subject", mails, form, ours, subject=True)
        code_row("first six digits of the source", mails, form, first_six, subject=False)
        code_row("English word beside digits", mails, form, english_word, subject=False)
    for form in ("html", "text"):
        print(
            f"action links, {form}   (aim: first right 97 %, false 1 %; prototype 96.9 %, 1.1 %; first link 82 %, 35 %)"
        )
        bad += link_row("ours", mails, form, best_link)
        link_row("first link", mails, form, first_link)
        link_row("all links", mails, form, all_links)
    times: dict[str, list[float]] = {"codes": [], "links": []}
    for _, row, body in mails:
        start = time.perf_counter()
        find_codes(row["subject"], body[0])
        middle = time.perf_counter()
        find_links(row["subject"], body[0], body[1])
        times["codes"].append(middle - start)
        times["links"].append(time.perf_counter() - middle)
    for name, taken in times.items():
        print(f"{name}: p50 {median(taken) * 1e3:.2f} ms, slowest {max(taken) * 1e3:.2f} ms")
    for line in bad:
        print("  ", line)


if __name__ == "__main__":
    main(folder_argument())

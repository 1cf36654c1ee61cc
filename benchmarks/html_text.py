"""HTML to text beside a browser: visible words kept, words too many, hidden words leaked, size, time.

`python -m benchmarks.html_text FOLDER`, where FOLDER holds `html/*.html`. The ground truth is `innerText` in a headless
Chromium that may load nothing. The floor is lxml's `text_content`. Then two sets of tricks that hide text.
"""

from __future__ import annotations

import gc
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from tests.mail.hidden_tricks import FIRST_SET, PAYLOAD, SECOND_SET, THIRD_SET, Trick
from tests.support.browser import browser_path

from benchmarks.corpora import folder_argument
from daimon_mcp.mail.html_render import render_html

try:
    from playwright.sync_api import sync_playwright
except ModuleNotFoundError:
    raise SystemExit(
        "benchmarks.html_text compares with a browser, and playwright is missing: run make check first"
    ) from None

_WORD = re.compile(r"\w+")
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_ROUNDS = 5
# The text that the browser lays out although its computed style makes it unreadable: it is in innerText all the same.
_DISGUISED = """() => {
  if (!document.body) return "";
  const rgba = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const disguised = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (!node.data.trim()) continue;
    const style = getComputedStyle(node.parentElement);
    const ink = rgba(style.color);
    let ground = [255, 255, 255], opacity = 1;
    for (let up = node.parentElement; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
    for (let up = node.parentElement; up; up = up.parentElement) {
      const own = getComputedStyle(up), color = rgba(own.backgroundColor);
      if (own.backgroundImage !== "none" || up.hasAttribute("background")) { ground = null; break; }
      if (color.length < 4 || color[3] > 0) { ground = color; break; }
    }
    const near = ground && Math.hypot(ink[0] - ground[0], ink[1] - ground[1], ink[2] - ground[2]) <= 24;
    if (near || parseFloat(style.fontSize) < 4 || opacity < 0.06) disguised.push(node.data);
  }
  return disguised.join(" ");
}"""
_ONLY_HIDDEN = 3  # words from which a mail counts as one with hidden text


@dataclass(frozen=True, slots=True)
class Truth:
    """What the browser shows of a mail, what of it can be told from its ground, and the words only in its markup."""

    name: str
    source: str
    shown: Counter[str]
    legible: Counter[str]
    unseen: frozenset[str]


@dataclass(frozen=True, slots=True)
class Score:
    """Means over all mails; the times in ms."""

    recall: float
    legible: float
    precision: float
    leaked: float
    size: float
    lost: list[tuple[float, str]]
    p50: float
    p99: float


def words(text: str) -> Counter[str]:
    """The words of a text, without regard to case."""
    return Counter(_WORD.findall(_INVISIBLE.sub("", text).casefold()))


def text_content(source: str) -> str:
    """The floor: all text nodes outside scripts and styles."""
    tree = etree.fromstring(source.encode("utf-8", "replace"), etree.HTMLParser(encoding="utf-8"))
    pieces: list[str] = []
    for element in tree.iter():
        tag: object = element.tag
        if isinstance(tag, str) and tag not in {"script", "style", "title"}:
            pieces.append(element.text or "")
        pieces.append(element.tail or "")
    return " ".join(pieces)


def truths(folder: Path) -> list[Truth]:
    """What Chromium shows of every HTML file in the folder."""
    found: list[Truth] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path())
        context = browser.new_context(java_script_enabled=True, offline=True)
        page = context.new_page()
        page.route("**/*", lambda route: route.abort())
        for file in sorted(folder.glob("html/*.html")):
            source = file.read_text("utf-8", "replace")
            if not source.strip():
                continue
            page.set_content(_without_scripts(source), wait_until="commit")
            shown = words(page.evaluate("document.body ? document.body.innerText : ''"))
            disguised = words(page.evaluate(_DISGUISED))
            unseen = frozenset(word for word in words(text_content(source)) if word not in shown and len(word) > 2)
            found.append(Truth(file.name, source, shown, shown - disguised, unseen))
        browser.close()
    return found


def _without_scripts(source: str) -> str:
    return re.sub(r"(?is)<script\b.*?</script>|<meta[^>]+http-equiv[^>]+refresh[^>]*>", "", source)


def score(convert: Callable[[str], str], found: list[Truth]) -> Score:
    """How the converter does on all mails."""
    recall, legible, precision, leaked = 0.0, 0.0, 0.0, 0.0
    lost: list[tuple[float, str]] = []
    out, size, hiding = 0, 0, 0
    for truth in found:
        text = convert(truth.source)
        given = words(text)
        both = (given & truth.shown).total()
        kept = both / truth.shown.total() if truth.shown else 1.0
        recall += kept
        precision += both / given.total() if given else 1.0
        clear = (given & truth.legible).total() / truth.legible.total() if truth.legible else 1.0
        legible += clear
        lost.append((clear, truth.name))
        out += len(text)
        size += len(truth.source)
        if len(truth.unseen) >= _ONLY_HIDDEN:
            hiding += 1
            leaked += len(truth.unseen & given.keys()) / len(truth.unseen)
    times = sorted(_time(convert, truth.source) for truth in found)
    count = len(found)
    return Score(
        recall / count,
        legible / count,
        precision / count,
        leaked / max(hiding, 1),
        out / size,
        sorted(lost),
        times[count // 2],
        times[min(count - 1, count * 99 // 100)],
    )


def _time(convert: Callable[[str], str], source: str) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        convert(source)
        best = min(best, time.process_time() - started)
    return best * 1000


def leaks(tricks: tuple[Trick, ...], convert: Callable[[str], str]) -> list[str]:
    """The names of the tricks whose payload comes out."""
    return [trick.name for trick in tricks if PAYLOAD.casefold() in " ".join(convert(trick.html).split()).casefold()]


def _ours(source: str) -> str:
    return render_html(source).text()


def main(folder: Path) -> None:
    """Prints the table."""
    found = truths(folder)
    gc.freeze()
    print(f"{len(found)} HTML mails beside Chromium's innerText")
    print("                          recall  of legible  precision  hidden leaked   size  p50 ms  p99 ms")
    print("field's best / prototype    .994           -       .999           .000   .042    1.7    13.7  (other mails)")
    for name, convert in (("ours", _ours), ("floor: text content", text_content)):
        result = score(convert, found)
        print(
            f"{name:24} {result.recall:7.4f} {result.legible:11.4f} {result.precision:10.4f} {result.leaked:14.4f}"
            f" {result.size:6.3f} {result.p50:7.2f} {result.p99:7.2f}"
        )
        if name == "ours":
            worst = ", ".join(f"{file} {kept:.3f}" for kept, file in result.lost[:3])
            print(f"  lowest recall of legible words: {worst}")
            short = sum(kept < 0.99 for kept, _ in result.lost)
            print(f"  mails that lose more than 1 % of their legible words: {short} of {len(found)}")
    shown = sum(sum(len(word) * times + times for word, times in truth.shown.items()) for truth in found)
    print(
        f"  the words alone that Chromium shows are {shown / sum(len(truth.source) for truth in found):.3f} of the HTML"
    )
    print("hidden-text tricks that get through (of 92 other ones: field's best 61, prototype 1)")
    for title, tricks in (("first", FIRST_SET), ("second", SECOND_SET), ("third", THIRD_SET)):
        through = leaks(tricks, _ours)
        print(
            f"  {title} set of {len(tricks)}: ours {len(through)} {through}, floor {len(leaks(tricks, text_content))}"
        )


if __name__ == "__main__":
    main(folder_argument())

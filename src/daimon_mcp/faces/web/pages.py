"""What the operator's pages look like: templates, one style sheet inside the page, words from `prompts/operator`.

A page needs no script and asks for nothing else: its policy names the hash of its style and forbids the rest.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daimon_mcp.domain.clock import DAY, HOUR, MINUTE, iso
from daimon_mcp.domain.refusals import Fact
from daimon_mcp.domain.tiers import Limits, Tier, is_higher
from daimon_mcp.faces.web.dialect import PageDialect
from daimon_mcp.mail.sanitize import clean_line, clean_text
from daimon_mcp.operations.approving import Preview
from daimon_mcp.operations.upgrades import Opened
from daimon_mcp.store.approvals import StoredApproval
from daimon_mcp.store.messages import Person
from daimon_mcp.texts import Texts, render

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

_FOLDER = Path(__file__).parent
_BACKTICKS = re.compile("`([^`]+)`")
_UNITS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"))


@dataclass(frozen=True, slots=True)
class Look:
    """The templates by name, the style sheet, and the Content-Security-Policy that allows just that."""

    templates: Mapping[str, Template]
    style: str
    policy: str


@cache
def _load() -> Look:
    """Read and compile; on a thread, because that and importing the template engine take tens of milliseconds."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typed"] = _typed
    style = (_FOLDER / "static" / "page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return Look(
        templates={name: environment.get_template(f"{name}.html") for name in ("ask", "done", "problem")},
        style=style,
        policy=(
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'"
        ),
    )


async def look() -> Look:
    """What `_load` makes, without holding up the event loop the first time."""
    return await asyncio.to_thread(_load) if not _load.cache_info().currsize else _load()


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as a page shows it: in words, for people, and for programs."""

    words: str
    exact: str
    machine: str


@dataclass(frozen=True, slots=True)
class Change:
    """One row of what changes: field of its name in `page.upgrade`, now and after."""

    label: str
    now: str
    after: str

    @property
    def changes(self) -> bool:
        return self.now != self.after


@dataclass(frozen=True, slots=True)
class Letter:
    """A held mail for the page: all of it texts of others, but `why` and `found`.

    `people` are header names with addresses, each with whether the inbox does not know it.
    """

    why: list[str]
    found: list[str]
    people: list[tuple[str, list[tuple[str, bool]]]]
    subject: str
    leaves: str
    files: list[str]
    new: str
    quoted: str
    cut: int


class Pages:
    """Renders each page as HTML."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._dialect = PageDialect()

    def say(self, page: str, field: str, **facts: Fact) -> str:
        """A field of `prompts/operator/page.<page>.md` (`page.md` for ""), with its slots filled."""
        text = self._texts.text("operator", f"page.{page}" if page else "page")
        return render(text.prose(field), facts, self._dialect.call)

    async def ask(
        self,
        opened: Opened,
        *,
        token: str,
        held: Preview | None = None,
        comment: str = "",
        error: str | None = None,
    ) -> str:
        """The question with its form; `held` is the mail it is about. `error` says why an answer was not taken;
        `comment` is kept from that answer."""
        approval = opened.approval
        upgrade = opened.target is not None
        nothing_to_do = upgrade and not is_higher(Tier(approval.target_tier or approval.tier), Tier(approval.tier))
        which = "nothing" if nothing_to_do else "more" if opened.current.may_send else "send"
        kind = "upgrade" if upgrade else "send" if held is not None else "request"
        return await self._render(
            "ask",
            heading=self.say("upgrade", f"heading_{which}") if upgrade else self.say(kind, "heading"),
            kind=kind,
            mail=None if held is None else self._mail(held),
            path="upgrade" if upgrade else "approve",
            token=token,
            opened=opened,
            approval=approval,
            words=clean_line(approval.reason),
            label=clean_line(approval.action_label),
            details=_details(approval.context),
            nothing_to_do=nothing_to_do,
            changes=self._changes(opened.current, opened.target) if opened.target and not nothing_to_do else [],
            asked=self._moment("asked", "ago", approval.created_at, opened.now - approval.created_at),
            expires=self._moment("expires", "left", approval.expires_at, approval.expires_at - opened.now),
            comment=comment,
            error=error,
        )

    def _mail(self, held: Preview) -> Letter:
        """A held mail as the page shows it: without characters that would make it look like something else."""
        message = held.message

        def people(field: str, persons: Sequence[Person]) -> list[tuple[str, list[tuple[str, bool]]]]:
            shown = [(clean_line(each["email"]), each["email"] in held.strangers) for each in persons]
            return [(self.say("send", field), shown)] if shown else []

        return Letter(
            why=[self.say("send", f"why_{each}") for each in held.why],
            found=[self._found(each) for each in held.findings],
            people=[
                *people("from", [message.from_]),
                *people("to", message.to),
                *people("cc", message.cc),
                *people("bcc", message.bcc),
            ],
            subject=clean_line(message.subject),
            leaves=iso(message.send_at) if message.send_at is not None else "",
            files=[f"{clean_line(name)} ({size:,} B)" for name, size in held.files],
            new=clean_text(held.new).strip(),
            quoted=clean_text(held.quoted).strip(),
            cut=held.cut,
        )

    def _found(self, finding: Mapping[str, Any]) -> str:
        place = self.say("send", f"place_{finding['place']}", number=finding.get("attachment"))
        return self.say("send", "found", kind=str(finding["kind"]).replace("_", " "), place=place)

    async def done(self, opened: Opened, decided: StoredApproval, *, always: bool = False) -> str:
        """What a decision came to: the request as it was looked at, and as it is now."""
        approved = decided.state == "approved"
        return await self._render(
            "done",
            heading=self.say("done", "approved" if approved else "declined"),
            approved=approved,
            approval=decided,
            always=always,
            opened=opened,
            waiting=opened.waiting if approved and decided.kind == "upgrade" else 0,
            comment=clean_line(decided.comment or ""),
        )

    async def problem(self, heading: str, message: str, next_step: str) -> str:
        """Why nothing was done, and what to do next."""
        return await self._render("problem", heading=heading, message=message, next_step=next_step)

    def duration(self, microseconds: int) -> str:
        """A length of time in words, to the nearest of the largest unit that it has one of."""
        for unit, name in _UNITS:
            if microseconds >= unit:
                count = (microseconds + unit // 2) // unit
                return self.say("time", name) if count == 1 else self.say("time", f"{name}s", n=count)
        return self.say("time", "moment")

    async def _render(self, page: str, **values: Any) -> str:
        appearance = await look()
        return appearance.templates[page].render(say=self.say, style=appearance.style, **values)

    def _moment(self, field: str, direction: str, at: int, distance: int) -> Moment:
        relative = self.say("time", direction, duration=self.duration(distance))
        machine = iso(at)
        return Moment(
            words=self.say("ask", field, **{direction: relative}),
            exact=f"{machine[:10]} {machine[11:16]} UTC",
            machine=machine,
        )

    def _changes(self, now: Limits, after: Limits) -> list[Change]:
        def number(limit: int | None) -> str:
            return self.say("upgrade", "no_limit") if limit is None else f"{limit:,}" if limit else none

        def allowed(flag: bool) -> str:
            return self.say("upgrade", "yes" if flag else "no")

        none = self.say("upgrade", "none")
        return [
            Change("per_month", number(now.sends_per_month), number(after.sends_per_month)),
            Change("per_day", number(now.sends_per_day), number(after.sends_per_day)),
            Change("smtp", allowed(now.smtp), allowed(after.smtp)),
            Change("domains", number(now.domains), number(after.domains)),
        ]


def _typed(text: str) -> Markup:
    """One of our texts as HTML, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped before


def _details(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """An agent's facts as lines to show: what is no text is shown as JSON."""
    shown: list[tuple[str, str]] = []
    for key, value in context.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown.append((clean_line(key), clean_text(text).strip()))
    return shown

"""Which mails are one conversation, in whatever order they come.

The order decides in three cases alone, each with a test of its own: an answer that refers to nothing is joined by its
subject only to what is there already; of two different mails with one Message-ID the first has the id; and where a
conversation changed its subject, mail that answers a parent which is not there yet is compared with what is there.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.daimon import Agent, Daimon, running
from tests.support.post import OTHER, ROBO, arrive, clock_at, eml

from daimon_mcp.domain.tiers import Tier

DAY = 24 * 3600


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    async with running(tmp_path / "data", workers=True, clock=clock_at("2026-09-01T12:00:00Z")) as made:
        await made.upgrade(Tier.ENTERPRISE)
        yield made


@dataclass(frozen=True)
class Mail:
    """A letter of a conversation; `name` is its Message-ID unless another is given."""

    name: str
    group: str
    subject: str
    references: tuple[str, ...] = ()
    in_reply_to: str = ""
    message_id: str = ""
    sender: str = "ann"
    body: str = "Words."
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def content(self, inbox: str) -> bytes:
        headers = dict(self.headers)
        if self.references:
            headers["References"] = " ".join(f"<{each}@x.example>" for each in self.references)
        if self.in_reply_to:
            headers["In-Reply-To"] = f"<{self.in_reply_to}@x.example>"
        return eml(
            sender=f"{self.sender}@people.example",
            to=inbox,
            subject=self.subject,
            body=f"{self.body} {self.name}",
            message_id=f"<{self.message_id or self.name}@x.example>",
            headers=headers,
        )


def chain(name: str, length: int) -> list[Mail]:
    names = [f"{name}{n}" for n in range(length)]
    return [
        Mail(each, name, f"{'Re: ' if n else ''}Chain", tuple(names[:n]), names[n - 1] if n else "", sender=f"p{n % 3}")
        for n, each in enumerate(names)
    ]


CONVERSATIONS: tuple[Mail, ...] = (
    *chain("deep", 7),
    # Answers of many to one.
    Mail("root", "wide", "Poll"),
    *(Mail(f"vote{n}", "wide", "Re: Poll", in_reply_to="root", sender=f"v{n}") for n in range(4)),
    # The first two never came.
    Mail("late1", "orphans", "Re: Lost", ("lost0", "lost1"), "lost1"),
    Mail("late2", "orphans", "Re: Lost", ("lost0",), sender="ben"),
    Mail("late3", "orphans", "AW: Lost", ("lost0", "lost1", "late1"), "late1", sender="cy"),
    # References alone, In-Reply-To alone, and ids in another case.
    Mail("alone1", "either", "Either"),
    Mail("alone2", "either", "Re: Either", ("alone1",)),
    Mail("alone3", "either", "Re: Either", in_reply_to="ALONE2"),
    # Two conversations until one mail speaks of both.
    Mail("left1", "bridged", "Merger"),
    Mail("left2", "bridged", "Re: Merger", in_reply_to="left1"),
    Mail("right1", "bridged", "Merger talks"),
    Mail("bridge", "bridged", "Re: Merger", ("left2", "right1"), "right1"),
    # One mail that came twice, by a list.
    Mail("copy", "copies", "Twice"),
    Mail("copy again", "copies", "[list] Twice", message_id="copy"),
    Mail("copy answer", "copies", "Re: Twice", in_reply_to="copy"),
    # The same id on mail that has nothing to do with it.
    Mail("number one", "one", "Printer report", message_id="same"),
    Mail("number two", "two", "Coffee order", message_id="same"),
    # The same subject is no reason.
    Mail("daily1", "daily1", "Daily news"),
    Mail("daily2", "daily2", "Daily news"),
    # A notice of a program has a subject of its own and stays where it answers.
    Mail("holiday", "wide", "Out of office", in_reply_to="root", headers={"Auto-Submitted": "auto-replied"}),
)

# Old mail answered for its addresses: the new subject is a conversation of its own.
CHANGED: tuple[Mail, ...] = (
    Mail("budget1", "budget", "Quarterly budget", body="Here is the spreadsheet for the coming quarter."),
    Mail("lunch1", "lunch", "Where do we eat", ("budget1",), "budget1"),
    Mail("lunch2", "lunch", "Re: Where do we eat", ("budget1", "lunch1"), "lunch1", sender="ben"),
)


def grouped(mails: Sequence[Mail]) -> dict[str, frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for mail in mails:
        groups.setdefault(mail.group, set()).add(mail.name)
    return {group: frozenset(names) for group, names in groups.items()}


class Arrived:
    """What an inbox made of letters that came in some order."""

    def __init__(self, daimon: Daimon, agent: Agent, inbox: str) -> None:
        self.daimon = daimon
        self.agent = agent
        self.inbox = inbox
        self.names: dict[str, str] = {}  # message id -> name
        self.first_thread: dict[str, str] = {}  # name -> the thread it was in when it came

    async def take(self, mails: Sequence[Mail]) -> None:
        for mail in mails:
            [message_id] = await arrive(self.daimon, self.inbox, content=mail.content(self.inbox))
            self.names[message_id] = mail.name
            found = await self.agent.do("get_message", message_id=message_id, mark_read=False)
            self.first_thread[mail.name] = found["thread_id"]

    async def threads(self) -> list[dict[str, Any]]:
        """Every thread with the names of its messages."""
        found = (await self.agent.do("list_threads", inbox=self.inbox, limit=100))["threads"]
        for thread in found:
            page = await self.agent.do("get_thread", thread_id=thread["id"], limit=50)
            thread["names"] = frozenset(self.names[each["id"]] for each in page["thread"]["messages"])
        return found

    async def check(self, mails: Sequence[Mail]) -> dict[str, dict[str, Any]]:
        """The groups are right, and so is all that is said of them; the threads by group."""
        threads = await self.threads()
        groups = grouped(mails)
        assert {thread["names"] for thread in threads} == set(groups.values())
        inbox = await self.agent.do("get_inbox", inbox=self.inbox)
        assert (inbox["thread_count"], inbox["message_count"]) == (len(groups), len(mails))
        by_name = {mail.name: mail for mail in mails}
        for thread in threads:
            assert thread["message_count"] == thread["unread_count"] == len(thread["names"])
            senders = {f"{by_name[name].sender}@people.example" for name in thread["names"]}
            assert set(thread["participants"]) == {*senders, self.inbox}
        for name, thread_id in self.first_thread.items():
            opened = (await self.agent.do("get_thread", thread_id=thread_id, limit=50))["thread"]
            assert name in {self.names[each["id"]] for each in opened["messages"]}
        return {by_name[next(iter(thread["names"]))].group: thread for thread in threads}


@pytest.mark.parametrize("seed", range(12))
async def test_conversations_are_the_same_in_any_order(daimon: Daimon, agent: Agent, seed: int) -> None:
    chance = random.Random(seed)
    mails = list(CONVERSATIONS)
    if seed == 0:
        mails.reverse()
    elif seed > 1:
        chance.shuffle(mails)
    arrived = Arrived(daimon, agent, ROBO)
    await arrived.take(mails)
    await arrived.check(mails)
    # The same letters elsewhere are other conversations.
    other = Arrived(daimon, agent, OTHER)
    await other.take([mail for mail in mails if mail.group in {"deep", "bridged"}][::-1])
    assert not set(other.first_thread.values()) & set(arrived.first_thread.values())
    await arrived.check(mails)


async def test_every_order_of_a_small_conversation(daimon: Daimon, agent: Agent) -> None:
    from itertools import permutations

    for number, mails in enumerate(permutations([each for each in CONVERSATIONS if each.group == "bridged"])):
        inbox = (await agent.do("create_inbox", username=f"order-{number}"))["address"]
        arrived = Arrived(daimon, agent, inbox)
        await arrived.take(mails)
        await arrived.check(mails)


async def test_a_changed_subject_is_a_thread_of_its_own_that_knows_where_it_began(daimon: Daimon, agent: Agent) -> None:
    from itertools import permutations

    for number, mails in enumerate(permutations(CHANGED)):
        inbox = (await agent.do("create_inbox", username=f"order-{number}"))["address"]
        arrived = Arrived(daimon, agent, inbox)
        await arrived.take(mails)
        threads = await arrived.check(mails)
        assert threads["lunch"]["related_thread_id"] == threads["budget"]["id"], [mail.name for mail in mails]
        assert "related_thread_id" not in threads["budget"]


async def test_what_is_quoted_stays_though_the_subject_changed(daimon: Daimon, agent: Agent) -> None:
    quoting = Mail(
        "lunch", "budget", "Where do we eat", ("budget1",), "budget1",
        body="Hungry.\r\n\r\n> Here is the spreadsheet for the coming quarter.\r\n",
    )  # fmt: skip
    for mails, inbox in (((CHANGED[0], quoting), ROBO), ((quoting, CHANGED[0]), OTHER)):
        arrived = Arrived(daimon, agent, inbox)
        await arrived.take(mails)
        await arrived.check(mails)


async def test_threads_once_split_are_not_joined_by_who_speaks_of_both(daimon: Daimon, agent: Agent) -> None:
    late = Mail("lunch3", "lunch", "Re: Where do we eat", ("budget1", "lunch1", "lunch2"), "lunch2")
    arrived = Arrived(daimon, agent, ROBO)
    await arrived.take([*CHANGED, late])
    await arrived.check([*CHANGED, late])


# --- by subject alone -------------------------------------------------------------------------------------------------


def question(sender: str = "zed", subject: str = "Invoice 77") -> Mail:
    return Mail("question", "invoice", subject, sender=sender)


def bare(subject: str, *, group: str = "answer", sender: str = "zed", **fields: Any) -> Mail:
    return Mail("answer", group, subject, sender=sender, **fields)


@pytest.mark.parametrize("subject", ["Re: Invoice 77", "RE: RE:  Invoice 77", "AW: invoice 77", "Re[2]: Invoice 77"])
async def test_an_answer_that_refers_to_nothing_joins_by_its_subject(
    daimon: Daimon, agent: Agent, subject: str
) -> None:
    arrived = Arrived(daimon, agent, ROBO)
    mails = [question(), bare(subject, group="invoice")]
    await arrived.take(mails[:1])
    daimon.later(29 * DAY)
    await arrived.take(mails[1:])
    await arrived.check(mails)
    [message_id] = [each for each, name in arrived.names.items() if name == "answer"]
    assert (await agent.do("get_message", message_id=message_id))["linked_by"] == "subject"


@pytest.mark.parametrize(
    ("answer", "days"),
    [
        (bare("Invoice 77"), 1),  # no answer
        (bare("Re: Invoice 78"), 1),
        (bare("Re: Invoice 77", sender="stranger"), 1),  # nobody in common but the inbox
        (bare("Re: Invoice 77", references=("unknown",)), 1),  # it says itself what it answers
        (bare("Re: Invoice 77"), 31),
        (bare("Re:"), 1),
    ],
)
async def test_a_subject_joins_no_other_mail(daimon: Daimon, agent: Agent, answer: Mail, days: int) -> None:
    arrived = Arrived(daimon, agent, ROBO)
    await arrived.take([question()])
    daimon.later(days * DAY)
    await arrived.take([answer])
    await arrived.check([question(), answer])


async def test_by_subject_only_what_is_there_is_joined(daimon: Daimon, agent: Agent) -> None:
    """The answer came first: it began a thread, and the question, which answers nothing, begins another."""
    arrived = Arrived(daimon, agent, ROBO)
    mails = [bare("Re: Invoice 77"), question()]
    await arrived.take(mails)
    await arrived.check(mails)


async def test_of_two_mails_with_one_id_the_first_is_the_one_that_is_answered(daimon: Daimon, agent: Agent) -> None:
    one, two = (mail for mail in CONVERSATIONS if mail.message_id == "same")
    answer = Mail("answer", "one", "Re: Printer report", in_reply_to="same")
    arrived = Arrived(daimon, agent, ROBO)
    await arrived.take([one, two, answer])
    await arrived.check([one, two, answer])


async def test_a_copy_is_found_although_the_id_was_given_twice(daimon: Daimon, agent: Agent) -> None:
    one, two = (mail for mail in CONVERSATIONS if mail.message_id == "same")
    again = Mail("again", "two", "[list] Coffee order", message_id="same")
    for mails, inbox in (((one, two, again), ROBO), ((two, one, again), OTHER)):
        arrived = Arrived(daimon, agent, inbox)
        await arrived.take(mails)
        await arrived.check(mails)


async def test_without_its_parent_a_changed_subject_is_compared_with_what_is_there(
    daimon: Daimon, agent: Agent
) -> None:
    """Two answers under two subjects before the mail they answer: they part, and stay parted."""
    answer = Mail("budget2", "answer", "Re: Quarterly budget", ("budget1",), "budget1")
    mails = [CHANGED[1], answer, CHANGED[0]]
    arrived = Arrived(daimon, agent, ROBO)
    await arrived.take(mails)
    await arrived.check(mails)


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_pages_of_threads_hold_while_mail_comes(daimon: Daimon, agent: Agent) -> None:
    """Whatever was there and stays where it is, is shown once; what gets mail meanwhile goes to the front."""
    for n in range(25):
        await arrive(daimon, ROBO, subject=f"Subject {n}", message_id=f"<m{n}@x>")
        if n % 3:
            daimon.later(1)  # others have the same time
    before = [each["id"] for each in (await agent.do("list_threads", inbox=ROBO, limit=100))["threads"]]
    seen: list[str] = []
    moved: set[str] = set()
    fresh = 0
    cursor: dict[str, str] = {}
    while True:
        page = await agent.do("list_threads", inbox=ROBO, limit=4, **cursor)
        seen += [each["id"] for each in page["threads"]]
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
        daimon.later(1)
        await arrive(daimon, ROBO, subject=f"Fresh {fresh}")
        await arrive(
            daimon, ROBO, subject="Re: any", headers={"In-Reply-To": f"<m{fresh}@x>", "Auto-Submitted": "auto-replied"}
        )
        moved.add(before[len(before) - 1 - fresh])
        fresh += 1
    assert len(seen) == len(set(seen))
    assert [each for each in seen if each not in moved] == [each for each in before if each not in moved]
    front = await agent.do("list_threads", inbox=ROBO, limit=100)
    assert front["total"] == 25 + fresh
    assert {each["id"] for each in front["threads"][: 2 * fresh]} > moved


async def test_threads_are_found_by_time_and_by_what_is_unread(daimon: Daimon, agent: Agent) -> None:
    ids: list[str] = []
    for n in range(4):
        [letter] = await arrive(daimon, ROBO, subject=f"Subject {n}")
        ids.append((await agent.do("get_message", message_id=letter, mark_read=n == 1))["thread_id"])
        daimon.later(3600)

    async def found(**filters: Any) -> list[str]:
        return [each["id"] for each in (await agent.do("list_threads", inbox=ROBO, **filters))["threads"]]

    assert await found() == ids[::-1]
    assert await found(unread=True) == await found(label="unread") == [ids[3], ids[2], ids[0]]
    assert await found(after="2026-09-01T13:00:00Z", before="2026-09-01T15:00:00Z") == [ids[2], ids[1]]
    assert await found(label="none such") == []


async def test_pages_of_a_thread_hold_while_it_grows(daimon: Daimon, agent: Agent) -> None:
    first = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Long", body="x")
    headers = {"References": first["message_id"]}
    letters = [first["id"]]
    for n in range(11):
        letters += await arrive(daimon, ROBO, subject="Re: Long", body=f"word{n}", headers=headers)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await agent.do("get_thread", thread_id=first["thread_id"], limit=5, **cursor)
        seen += [each["id"] for each in page["thread"]["messages"]]
        assert page["thread"]["message_count"] == len(letters)
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
        if len(letters) < 15:
            letters += await arrive(daimon, ROBO, subject="Re: Long", body="more", headers=headers)
    assert seen == letters
    assert page["next_cursor"] is None


async def test_one_long_mail_does_not_take_the_room_of_the_others(daimon: Daimon, agent: Agent) -> None:
    first = await agent.do("send_email", inbox=ROBO, to=OTHER, subject="Long", body="x")
    headers = {"References": first["message_id"]}
    await arrive(daimon, ROBO, subject="Re: Long", body="word " * 5000, headers=headers)
    await arrive(daimon, ROBO, subject="Re: Long", body="short", headers=headers)
    shown = (await agent.do("get_thread", thread_id=first["thread_id"], max_tokens=300))["thread"]["messages"]
    assert [each["truncated"] for each in shown] == [False, True, False]
    assert sum(len(each["reply_body"]) for each in shown) <= 4 * 300


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "_" * 22, "_" * 11])
async def test_a_made_up_cursor_is_refused(daimon: Daimon, agent: Agent, cursor: str) -> None:
    [letter] = await arrive(daimon, ROBO)
    thread_id = (await agent.do("get_message", message_id=letter))["thread_id"]
    for tool, arguments in (("list_threads", {"inbox": ROBO}), ("get_thread", {"thread_id": thread_id})):
        answer = await agent.call(tool, cursor=cursor, **arguments)
        assert answer.error == "INVALID_REQUEST"
        assert answer.envelope["fields"][0]["field"] == "cursor"

"""Which mails belong together: mailboxes with the THREAD answer that is expected of them (RFC 5256).

`python -m benchmarks.threads FOLDER`, where FOLDER/threads has `NAME.mbox` and beside it `NAME`, a script of an IMAP
server's test suite with the expected answer. Each mailbox is grouped in file order and in 20 random orders of arrival.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.corpora import folder_argument
from daimon_mcp.mail.parse import parse
from daimon_mcp.mail.threading import is_copy, normal_id, parents_of

ORDERS = 20
# Mailboxes of which the answer is not wanted, and why.
DELIBERATE = {
    "thread": "a reference loop stays one thread",
    "thread4": "an answer to an unknown mail is not joined by its subject",
}

_ANSWER = re.compile(r"\* thread +(.*)", re.IGNORECASE)
_METHOD = re.compile(r"THREAD=(\w+)", re.IGNORECASE)
_MARK = re.compile(r"[()]|\d+")

Groups = frozenset[frozenset[int]]


@dataclass(frozen=True)
class Mail:
    """What grouping looks at."""

    message_id: str
    parents: tuple[str, ...]
    subject: str


class Union:
    """Nodes that have been found to belong together; a node is a mail's number or an id, known or not yet."""

    def __init__(self) -> None:
        self._parent: dict[int | str, int | str] = {}

    def root(self, node: int | str) -> int | str:
        parent = self._parent.setdefault(node, node)
        while parent != node:
            above = self._parent[parent]
            self._parent[node] = above
            node, parent = parent, above
        return node

    def join(self, one: int | str, other: int | str) -> None:
        self._parent[self.root(one)] = self.root(other)


def group(mails: Sequence[Mail], order: Sequence[int]) -> Groups:
    """The threads of mails that arrive in `order`, as numbers from 1: parents join, known or not; copies join."""
    union = Union()
    owners: dict[str, str] = {}  # id → the subject of the first mail that came with it
    for number in order:
        mail = mails[number]
        union.root(number)
        for parent in mail.parents:
            union.join(number, parent)
        if mail.message_id and (mail.message_id not in owners or is_copy(mail.subject, owners[mail.message_id])):
            owners.setdefault(mail.message_id, mail.subject)
            union.join(number, mail.message_id)
    groups: dict[int | str, set[int]] = {}
    for number in order:
        groups.setdefault(union.root(number), set()).add(number + 1)
    return frozenset(frozenset(each) for each in groups.values())


def read_mailbox(octets: bytes) -> list[Mail]:
    """The mails of an mbox file, in order."""
    starts = [match.start() for match in re.finditer(rb"^From ", octets, re.MULTILINE)] + [len(octets)]
    mails: list[Mail] = []
    for start, end in pairwise(starts):
        message = parse(octets[start:end])
        mails.append(
            Mail(
                normal_id(message.message_id or ""),
                parents_of(message.references, message.in_reply_to),
                message.subject,
            )
        )
    return mails


def expected_groups(script: str) -> tuple[str, int | None, Groups]:
    """The method a script speaks of, how many mails it has appended (None: all), and its first answer.

    Later answers are of mailboxes from which mails were expunged: that moves no mail to another thread here.
    """
    method = _METHOD.search(script)
    before, found, _ = script.partition("* THREAD" if "* THREAD" in script else "* thread")
    answer = _ANSWER.search(script)
    if method is None or answer is None or not found:
        raise ValueError("the script has no THREAD method or no answer")
    appended = before.lower().count("ok append")
    depth = 0
    groups: set[frozenset[int]] = set()
    current: set[int] = set()
    for mark in _MARK.findall(answer[1]):
        if mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
            if depth == 0:
                groups.add(frozenset(current))
                current = set()
        else:
            current.add(int(mark))
    return method[1].upper(), appended or None, frozenset(groups)


def shown(groups: Groups) -> str:
    return " ".join("(" + " ".join(map(str, sorted(each))) + ")" for each in sorted(groups, key=min))


def main(folder: Path) -> None:
    same, mailboxes, stable, spent, mails_read = 0, 0, 0, 0.0, 0
    for path in sorted((folder / "threads").glob("*.mbox")):
        method, appended, expected = expected_groups(path.with_suffix("").read_text())
        if method != "REFERENCES":
            continue
        mailboxes += 1
        mails = read_mailbox(path.read_bytes())[:appended]
        begun = time.process_time()
        found = group(mails, range(len(mails)))
        spent += time.process_time() - begun
        mails_read += len(mails)
        chance = random.Random(path.name)
        orders = [chance.sample(range(len(mails)), len(mails)) for _ in range(ORDERS)]
        steady = all(group(mails, order) == found for order in orders)
        stable += steady
        same += found == expected
        if found == expected and steady:
            continue
        reason = DELIBERATE.get(path.stem, "NOT WANTED") if steady else "NOT THE SAME IN EVERY ORDER"
        print(f"  {path.stem}: {shown(found)}, expected {shown(expected)}: {reason}")
    print("| what | field's best | prototype | ours at least | ours |")
    print("|---|---|---|---|---|")
    print(f"| mailboxes grouped as expected | none runs | 6/8 | 6/8 | {same}/{mailboxes} |")
    print(f"| the same in file order and {ORDERS} others | - | - | all | {stable}/{mailboxes} |")
    print(f"| µs to group a mail | - | - | - | {1e6 * spent / max(1, mails_read):.1f} |")


if __name__ == "__main__":
    main(folder_argument())

"""Where mail stands and what it is called: read state, labels, Trash and Spam, release, deletion; whole threads too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.domain.changes import MessageChanged
from daimon_mcp.domain.clock import iso
from daimon_mcp.domain.refusals import FieldProblem, RefusalCode, Refused
from daimon_mcp.operations import access
from daimon_mcp.operations.auditing import note
from daimon_mcp.operations.core import Core, Outcome
from daimon_mcp.operations.dispatch import tell_received
from daimon_mcp.operations.outgoing import clean_label, clean_labels
from daimon_mcp.operations.requests import Id, Request, refuse
from daimon_mcp.operations.views import message_view, thread_view
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import inboxes, messages, threads
from daimon_mcp.store.changes import What
from daimon_mcp.store.database import Transaction
from daimon_mcp.store.messages import StoredMessage
from daimon_mcp.store.threads import StoredThread

MOST_LABELS = 50  # of one message
_CHUNK = 200  # messages of a thread that are filed in one write

_Labels = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]] | None, Field(max_length=20)]
_Place = Literal["inbox", "trash", "spam"]


class _Filing(Request):
    read: bool | None = None
    add_labels: _Labels = None
    remove_labels: _Labels = None
    labels: Annotated[_Labels, Field(description="Replaces all own labels")] = None
    move_to: Annotated[
        _Place | None, Field(description="inbox takes mail out of trash or spam, and releases what was held")
    ] = None


class UpdateMessage(_Filing):
    message_id: Annotated[Id, Field(description="msg_ id")]


class DeleteMessage(Request):
    message_id: Annotated[Id, Field(description="msg_ id")]
    permanent: Annotated[bool, Field(description="true: for good; false: to trash")] = False


class UpdateThread(_Filing):
    thread_id: Annotated[Id, Field(description="thr_ id")]


class DeleteThread(Request):
    thread_id: Annotated[Id, Field(description="thr_ id")]


class _Wish:
    """What a request asks for: its labels checked, and the server's own among them turned into what they mean.

    `leaves` are the mailboxes that a message is taken out of, if it is in one of them.
    """

    def __init__(self, request: _Filing) -> None:
        if not request.model_fields_set & {"read", "add_labels", "remove_labels", "labels", "move_to"}:
            raise refuse([FieldProblem("read", "something to change is required", "true")])
        if request.labels is not None and (request.add_labels or request.remove_labels):
            raise refuse([FieldProblem("labels", "replaces all labels: leave out add_labels and remove_labels")])
        self.seen = request.read
        self.move: str | None = request.move_to
        self.leaves: set[str] = set()
        self.add = self._others(request.add_labels, "add_labels")
        self.drop = self._others(request.remove_labels, "remove_labels")
        self.labels = None if request.labels is None else clean_labels(request.labels)
        if self.leaves and self.move not in (None, "inbox"):
            raise refuse([FieldProblem("remove_labels", "names another place than the rest of the request")])

    def _others(self, given: Sequence[str] | None, field: str) -> list[str]:
        """Take what the server's own labels mean; the other labels."""
        others: list[str] = []
        for index, label in enumerate(given or ()):
            name = label.strip().lower()
            if name == "unread":
                self._see(field == "remove_labels", field)
            elif name in _MAILBOX and field == "add_labels":
                if self.move not in (None, name):
                    raise refuse([FieldProblem(field, "names another place than the rest of the request")])
                self.move = name
            elif name in _LEFT and field == "remove_labels":
                self.leaves.add(_LEFT[name])
            else:
                others.append(clean_label(label, f"{field}.{index}"))
        return others

    def _see(self, seen: bool, field: str) -> None:
        if self.seen not in (None, seen):
            raise refuse([FieldProblem(field, "says the opposite of read")])
        self.seen = seen

    def place_for(self, message: StoredMessage) -> str | None:
        """Where a message is to go, or None if it stays."""
        return self.move or ("inbox" if message.mailbox in self.leaves else None)

    def labels_for(self, now: Sequence[str]) -> list[str] | None:
        """The labels a message is to have, or None if they stay."""
        if self.labels is not None:
            return self.labels
        if not self.add and not self.drop:
            return None
        return [each for each in dict.fromkeys([*now, *self.add]) if each not in self.drop]


_MAILBOX = {"trash": inboxes.TRASH, "spam": inboxes.SPAM}
# The server's own labels that can be taken off, and where a message that has them stands.
_LEFT = {**_MAILBOX, "blocked": inboxes.SPAM}


class Filing:
    """The verbs of filing."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def update_message(self, actor: Actor, request: UpdateMessage) -> Outcome:
        """Mark, label or move one message. Raises MESSAGE_NOT_FOUND, INVALID_REQUEST."""
        actor.require("message_update")
        core = self._core
        wish = _Wish(request)
        message = await self._message(actor, request.message_id)
        now = core.clock.now()

        def run(tx: Transaction) -> tuple[StoredMessage, bool]:
            before = _present(tx, message.seq)
            self._file(tx, actor, before, wish)
            note(tx, actor, "update_message", message.id, now=now, move_to=wish.place_for(before))
            after = messages.in_tx(tx, message.seq)
            return after, before.hold_reason is not None and after.hold_reason is None

        stored, released = await core.database.write(run)
        facts = {"message": stored.id, "released": "yes" if released else None}
        return Outcome(key="update_message", result=message_view(stored), facts=facts)

    async def delete_message(self, actor: Actor, request: DeleteMessage) -> Outcome:
        """To Trash, or for good when asked or when it is there already. Raises MESSAGE_NOT_FOUND, INVALID_REQUEST."""
        actor.require("message_delete")
        core = self._core
        message = await self._message(actor, request.message_id)
        now = core.clock.now()

        def run(tx: Transaction) -> bool:
            fresh = _present(tx, message.seq)
            _movable(fresh)
            for_good = request.permanent or fresh.mailbox == inboxes.TRASH
            if for_good:
                messages.remove(tx, fresh, status=fresh.status, now=now)
            else:
                messages.move(tx, fresh, inboxes.TRASH, what=What.TRASHED, at=now)
            tx.announce(_changed(actor, fresh))
            note(tx, actor, "delete_message", message.id, now=now, permanent="yes" if for_good else None)
            return for_good

        for_good = await core.database.write(run)
        return Outcome(
            key="delete_message" + ("" if for_good else ".trashed"),
            result={"deleted": True, "message_id": message.id, "permanent": for_good, "deleted_at": iso(now)},
            facts={"message": message.id},
        )

    async def update_thread(self, actor: Actor, request: UpdateThread) -> Outcome:
        """The same for every message of a thread. Raises THREAD_NOT_FOUND, INVALID_REQUEST."""
        actor.require("message_update")
        core = self._core
        wish = _Wish(request)
        thread = await access.thread(core, actor, request.thread_id)

        count = await self._file_thread(actor, thread, wish, "update_thread")
        stored = await threads.by_id(core.database, thread.id, actor.account_no)
        assert stored is not None
        result: dict[str, Any] = {"thread": {**thread_view(stored), "messages": []}, "messages_changed": count}
        return Outcome(key="update_thread", result=result, facts={"thread": stored.id, "count": count})

    async def delete_thread(self, actor: Actor, request: DeleteThread) -> Outcome:
        """A thread with all its messages to Trash. Raises THREAD_NOT_FOUND."""
        actor.require("message_delete")
        thread = await access.thread(self._core, actor, request.thread_id)
        wish = _Wish(UpdateThread(thread_id=thread.id, move_to="trash"))

        moved = await self._file_thread(actor, thread, wish, "delete_thread")
        result = {"deleted": True, "thread_id": thread.id, "messages_deleted": moved}
        return Outcome(key="delete_thread", result=result, facts={"thread": thread.id, "count": moved})

    async def _file_thread(self, actor: Actor, thread: StoredThread, wish: _Wish, operation: str) -> int:
        """Do to every message of a thread what is wished, _CHUNK of them in one write; how many that altered.

        Others' writes come in between. What was done before a stop stays done, and doing it again does the rest.
        """
        core = self._core
        thread_seq = thread.seq
        after = altered = 0
        while True:
            now = core.clock.now()

            def run(tx: Transaction, after: int = after, now: int = now) -> tuple[int, int | None]:
                found = tx.all(sql.thread_message_ids, thread_seq=thread_seq, after=after, limit=_CHUNK)
                done = 0
                for seq, _ in found:
                    message = messages.in_tx(tx, seq)
                    if message.mailbox != inboxes.SCHEDULED or wish.move is None:
                        done += self._file(tx, actor, message, wish, refresh=False)
                if done:
                    threads.refresh_labels(tx, thread_seq)
                if done or not after:
                    note(tx, actor, operation, thread.id, now=now, messages=done)
                return done, found[-1][0] if len(found) == _CHUNK else None

            done, following = await core.database.write(run)
            altered += done
            if following is None:
                return altered
            after = following

    async def _message(self, actor: Actor, reference: str) -> StoredMessage:
        message = await access.message(self._core, actor, reference)
        if message.deleted_at is not None:
            raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
        return message

    def _file(
        self, tx: Transaction, actor: Actor, message: StoredMessage, wish: _Wish, *, refresh: bool = True
    ) -> bool:
        """Do all that is wished to one message, as it is in this transaction; whether that altered it."""
        now = self._core.clock.now()
        altered = False
        labels = wish.labels_for(message.labels)
        if labels is not None:
            if len(labels) > MOST_LABELS:
                raise refuse([FieldProblem("add_labels", f"a message has at most {MOST_LABELS} labels")])
            altered |= messages.set_labels(tx, message, labels, at=now, refresh=refresh)
        if wish.seen is not None:
            altered |= messages.set_seen(tx, message, wish.seen, at=now)
        place = wish.place_for(message)
        if place is not None:
            altered |= self._move(tx, message, place, now, refresh=refresh)
        if altered:
            tx.announce(_changed(actor, message))
        return altered

    @staticmethod
    def _move(tx: Transaction, message: StoredMessage, place: str, now: int, *, refresh: bool) -> bool:
        _movable(message)
        if place != "inbox":
            what = What.TRASHED if place == "trash" else What.MOVED
            return messages.move(tx, message, _MAILBOX[place], what=what, at=now, refresh=refresh)
        if message.hold_reason is not None:
            messages.release(tx, message, at=now)
            fresh = messages.in_tx(tx, message.seq)
            thread = tx.one(sql.thread_by_seq, thread_seq=fresh.thread_seq)
            assert thread is not None
            related = threads.thread_of(thread).related_id
            tell_received(tx, inboxes.one_in(tx, fresh.inbox_no), fresh, now, related_thread_id=related)
            return True
        if message.mailbox not in messages.ASIDE:
            return False  # it stands where it belongs
        home = inboxes.INBOX if message.direction == "inbound" else inboxes.SENT
        return messages.move(tx, message, home, what=What.RESTORED, at=now, refresh=refresh)


def _present(tx: Transaction, seq: int) -> StoredMessage:
    """The message as it is now. Raises MESSAGE_NOT_FOUND when somebody deleted it meanwhile."""
    message = messages.in_tx(tx, seq)
    if message.deleted_at is not None:
        raise Refused(RefusalCode.MESSAGE_NOT_FOUND)
    return message


def _movable(message: StoredMessage) -> None:
    if message.mailbox == inboxes.SCHEDULED:
        problem = "this message waits to be sent: cancel it instead"
        raise refuse([FieldProblem("message_id", problem, "cancel_scheduled")])


def _changed(actor: Actor, message: StoredMessage) -> MessageChanged:
    return MessageChanged(actor.account_no, message.inbox_no, message.inbox_id, message.id, message.thread_id)

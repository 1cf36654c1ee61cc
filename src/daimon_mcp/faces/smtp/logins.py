"""Who is logged in: how many sessions each account has, and the end of those whose credentials are not good any more.

One process counts its own sessions, on all its ports together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from daimon_mcp.domain.changes import AccountChanged, Change, CredentialsChanged, KeyChanged
from daimon_mcp.faces.smtp import replies
from daimon_mcp.faces.smtp.listener import Listener
from daimon_mcp.operations.submitters import Submitter


class LoggedIn(Protocol):
    """A session, as it is seen here."""

    account_changed: bool

    def dismiss(self, reply: str) -> None:
        """End it with `reply` as soon as it waits for its peer."""
        ...


class Logins:
    """The sessions that have logged in, by account. `heard` is a subscriber of the bus."""

    def __init__(self) -> None:
        self._sessions: defaultdict[int, dict[LoggedIn, Submitter]] = defaultdict(dict)
        self._listeners: tuple[Listener, ...] = ()

    def watch(self, *listeners: Listener) -> None:
        """Whose connections are to look around when a session of theirs is to end."""
        self._listeners = listeners

    def enter(self, session: LoggedIn, submitter: Submitter) -> bool:
        """Count a session, until `leave`; False when the account has as many as it may."""
        here = self._sessions[submitter.account_no]
        if len(here) >= submitter.max_sessions:
            if not here:
                del self._sessions[submitter.account_no]
            return False
        here[session] = submitter
        return True

    def leave(self, session: LoggedIn, submitter: Submitter) -> None:
        """Forget a session, if it was counted."""
        here = self._sessions[submitter.account_no]
        here.pop(session, None)
        if not here:
            del self._sessions[submitter.account_no]

    def heard(self, change: Change) -> None:
        """End the sessions that a change shuts out, and have the others of a changed account look again."""
        if isinstance(change, CredentialsChanged):
            self._dismiss(list(self._sessions.get(change.account_no, ())))
        elif isinstance(change, KeyChanged):
            every = [each for here in self._sessions.values() for each in here.items()]
            self._dismiss([session for session, submitter in every if submitter.actor.key_id == change.key_id])
        elif isinstance(change, AccountChanged):
            for session in self._sessions.get(change.account_no, ()):
                session.account_changed = True

    def _dismiss(self, sessions: Iterable[LoggedIn]) -> None:
        for session in sessions:
            session.dismiss(replies.LOGIN_ENDED)
        if sessions:
            for listener in self._listeners:
                for member in listener.members:
                    member.wake()

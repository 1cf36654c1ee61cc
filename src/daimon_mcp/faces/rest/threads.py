"""Routes for conversations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.messages import IN_INBOX
from daimon_mcp.faces.rest.route import AnyRoute, RestRoute
from daimon_mcp.faces.rest.shapes.threads import DeletedThread, FiledThread, ReadThreadResult, ThreadList
from daimon_mcp.operations.filing import DeleteThread, UpdateThread
from daimon_mcp.operations.requests import Id, Request
from daimon_mcp.operations.threads import BrowseThreads, ReadThread

THREADS = "/v1/inboxes/{inbox}/threads"
THREAD = f"{THREADS}/{{thread_id}}"
_NOT_FOUND = (RefusalCode.INBOX_NOT_FOUND, RefusalCode.THREAD_NOT_FOUND)


class OneLabel(Request):
    """A thread, and a label to put on it or take off it."""

    thread_id: Annotated[Id, Field(description="thr_ id")]
    label: Annotated[str, Field(min_length=1, max_length=64)]

    def added(self) -> UpdateThread:
        """As a change that adds it."""
        return UpdateThread(thread_id=self.thread_id, add_labels=[self.label])

    def removed(self) -> UpdateThread:
        """As a change that takes it off."""
        return UpdateThread(thread_id=self.thread_id, remove_labels=[self.label])


ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path=THREADS,
        operation="list_threads",
        tag="Threads",
        summary="List the threads of an inbox, without messages",
        request=BrowseThreads,
        result=ThreadList,
        lists="threads",
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.threads.browse_threads(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path="/v1/threads",
        operation="browse_threads",
        tag="Threads",
        summary="List or search the threads of all inboxes",
        request=BrowseThreads,
        result=ThreadList,
        lists="threads",
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.threads.browse_threads(call.actor, call.request),
    ),
    RestRoute(
        method="GET",
        path=THREAD,
        operation="get_thread",
        tag="Threads",
        summary="Read a thread with its messages, oldest first",
        request=ReadThread,
        result=ReadThreadResult,
        within=IN_INBOX,
        refuses=_NOT_FOUND,
        run=lambda call: call.operations.threads.read_thread(call.actor, call.request),
    ),
    RestRoute(
        method="PATCH",
        path=THREAD,
        operation="update_thread",
        tag="Threads",
        summary="Mark, label or move every message of a thread; labels replaces all of them",
        request=UpdateThread,
        result=FiledThread,
        within=IN_INBOX,
        refuses=_NOT_FOUND,
        run=lambda call: call.operations.filing.update_thread(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path=THREAD,
        operation="delete_thread",
        tag="Threads",
        summary="Move a thread with all its messages to trash",
        request=DeleteThread,
        result=DeletedThread,
        within=IN_INBOX,
        refuses=_NOT_FOUND,
        run=lambda call: call.operations.filing.delete_thread(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path=f"{THREAD}/labels",
        operation="add_thread_label",
        tag="Threads",
        summary="Put a label on every message of a thread",
        request=OneLabel,
        result=FiledThread,
        within=IN_INBOX,
        refuses=_NOT_FOUND,
        run=lambda call: call.operations.filing.update_thread(call.actor, call.request.added()),
    ),
    RestRoute(
        method="DELETE",
        path=f"{THREAD}/labels/{{label}}",
        operation="remove_thread_label",
        tag="Threads",
        summary="Take a label off every message of a thread",
        request=OneLabel,
        result=FiledThread,
        within=IN_INBOX,
        refuses=_NOT_FOUND,
        run=lambda call: call.operations.filing.update_thread(call.actor, call.request.removed()),
    ),
)

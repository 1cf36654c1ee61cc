"""What an owner's death would lose: the requests without an answer, and how the next owner learns of the session."""

from __future__ import annotations

from daimon_mcp.shim.lines import METHOD_FIRST, as_object, error_line, id_in_head, lines_of, parsed, request_id_of

# Type checkers read this name as true; importing `typing` to say so would cost more than the rest of the module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from daimon_mcp.shim.lines import Object, RequestId

SEND_ATTEMPTS = 3
"""How often one request may go down with an owner before it is answered with an error and not tried again."""

LISTEN = "subscriptions/listen"
_REPLAY = "daimon-replay-"


class _Request:
    """A request of the client that has no answer yet."""

    __slots__ = ("attempts", "client_id", "end", "line", "method", "tool")

    def __init__(self, line: bytes, method: str, params: Object, end: int) -> None:
        self.line = line
        self.method = method
        self.tool = params.get("name") if method == "tools/call" else None
        client_id = as_object(params.get("arguments")).get("client_id")
        self.client_id = isinstance(client_id, str) and client_id != ""
        self.end = end
        self.attempts = 0


class Ledger:
    """What passed between client and owner, as far as a new owner must be told of it."""

    def __init__(self) -> None:
        self.repeatable: frozenset[str] = frozenset()
        """Tools that may run twice for one call, as the owner says."""
        self.unanswered_bytes = 0
        self.moot: set[RequestId] = set()
        """Ids of questions that a lost owner asked the client; an answer to one is for nobody."""
        self._unanswered: dict[RequestId, _Request] = {}
        self._asked: set[RequestId] = set()
        self._initialize: Object | None = None
        self._initialize_answered = False
        self._initialized = b""
        self._subscribed: dict[str, Object] = {}
        self._replays = 0

    def waiting(self) -> bool:
        """Whether the client waits for an answer that will come by itself."""
        return any(request.method != LISTEN for request in self._unanswered.values())

    def from_client(self, line: bytes, end: int) -> None:
        """Note a line of the client; `end` counts bytes for the owner up to and with this line."""
        message = parsed(line)
        if message is None:
            return
        method = message.get("method")
        request_id = request_id_of(message)
        if not isinstance(method, str):
            if request_id is not None:
                self._asked.discard(request_id)
            return
        params = as_object(message.get("params"))
        if request_id is None:
            self._notified(line, method, params)
            return
        self._settle(request_id)
        self._unanswered[request_id] = _Request(line, method, params, end)
        self.unanswered_bytes += len(line)
        if method == "initialize":
            self._initialize, self._initialize_answered = message, False
        elif method in ("resources/subscribe", "resources/unsubscribe"):
            uri = params.get("uri")
            if isinstance(uri, str):
                self._subscribed.pop(uri, None)
                if method == "resources/subscribe":
                    self._subscribed[uri] = message

    def from_owner(self, line: bytes) -> bool:
        """Note a line of the owner; whether the client gets it."""
        if line.startswith(METHOD_FIRST):
            return True
        found = id_in_head(line)
        if found is not None:
            request_id, is_question = found[0], line.startswith(b'"method":', found[1] + 1)
        else:
            message = parsed(line)
            request_id = None if message is None else request_id_of(message)
            is_question = message is not None and "method" in message
        if request_id is None:
            return True
        if is_question:
            self._asked.add(request_id)
            self.moot.discard(request_id)
            return True
        if self._replays and isinstance(request_id, str) and request_id.startswith(_REPLAY):
            self._replays -= 1
            return False
        request = self._settle(request_id)
        if request is not None and request.method == "initialize":
            self._initialize_answered = True
        return True

    def without_moot(self, lines: bytes) -> bytes:
        """The client's lines but for answers to questions of an owner that is gone."""
        kept: list[bytes] = []
        for line in lines_of(lines):
            message = parsed(line)
            request_id = None if message is None or "method" in message else request_id_of(message)
            if request_id is not None and request_id in self.moot:
                self.moot.discard(request_id)
            else:
                kept.append(line + b"\n")
        return b"".join(kept)

    def lost(self, sent: int, base: int) -> tuple[bytes, bytes]:
        """The owner is gone: lines for the next one, and lines for the client.

        `sent` bytes went to the lost owner (0 if it never began a session); the next one's lines start at byte `base`.
        """
        to_client = [_withdrawn(request_id) for request_id in self._asked]
        self.moot |= self._asked
        self._asked.clear()
        to_owner = list(self._replay())
        offset = base + sum(map(len, to_owner))
        for request_id, request in list(self._unanswered.items()):
            if request.end <= sent:
                request.attempts += 1
                if request.attempts >= SEND_ATTEMPTS or not self._may_repeat(request):
                    self._settle(request_id)
                    to_client.append(error_line(request_id, -32000, _outcome_unknown(request)))
                    continue
            offset += len(request.line) + 1
            request.end = offset
            to_owner.append(request.line + b"\n")
        return b"".join(to_owner), b"".join(to_client)

    def _notified(self, line: bytes, method: str, params: Object) -> None:
        if method == "notifications/initialized":
            self._initialized = line + b"\n"
        elif method == "notifications/cancelled":
            # A cancelled request is never answered, and must not run again.
            request_id = request_id_of({"id": params.get("requestId")})
            if request_id is not None:
                self._settle(request_id)

    def _settle(self, request_id: RequestId) -> _Request | None:
        request = self._unanswered.pop(request_id, None)
        if request is not None:
            self.unanswered_bytes -= len(request.line)
        return request

    def _may_repeat(self, request: _Request) -> bool:
        return request.method != "tools/call" or request.client_id or request.tool in self.repeatable

    def _replay(self) -> Iterator[bytes]:
        """The client's standing with an owner: its handshake and its subscriptions, of the protocol that has them."""
        import json

        self._replays = 0
        if self._initialize is None or not self._initialize_answered:
            return
        for message in (self._initialize, *self._subscribed.values()):
            self._replays += 1
            yield json.dumps({**message, "id": f"{_REPLAY}{self._replays}"}, separators=(",", ":")).encode() + b"\n"
            if message is self._initialize and self._initialized:
                yield self._initialized


def _outcome_unknown(request: _Request) -> str:
    again = (
        "Call again with the same client_id." if request.client_id else "Look whether it took effect, or call again."
    )
    return f"The mail server restarted while this call was running, so its outcome is unknown. {again}"


def _withdrawn(request_id: RequestId) -> bytes:
    import json

    params = {"requestId": request_id, "reason": "The mail server restarted."}
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"

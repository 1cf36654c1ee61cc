"""JSON-RPC lines, looked at as little as possible: most are passed on without being parsed."""

from __future__ import annotations

# Type checkers read this name as true; importing `typing` to say so would cost more than the rest of the module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
    Object: TypeAlias = dict[str, Json]
    RequestId: TypeAlias = int | str

PROTOCOL = 1
"""Of the two first lines. An owner and a bridge that do not agree on it do not talk."""

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes in one line of a client."""
_ID_FIRST = b'{"jsonrpc":"2.0","id":'
METHOD_FIRST = b'{"jsonrpc":"2.0","method":'
_ID_LAST = b'"id":'
_LONGEST_ID = 200


class LineSplitter:
    """Whole lines out of a stream of bytes. A line longer than `limit` is dropped, and `dropped` has its request id."""

    def __init__(self, limit: int | None) -> None:
        self.dropped: list[RequestId | None] = []
        self._limit = limit
        self._rest = bytearray()
        self._too_long = False
        self._head = b""

    def feed(self, data: bytes) -> bytes:
        """Every line completed by `data`, each with its newline; empty when there is none."""
        if not self._rest and not self._too_long and data.endswith(b"\n"):
            return data
        if self._too_long:
            end = data.find(b"\n") + 1
            self._rest += data[:end] if end else data
            del self._rest[:-_LONGEST_ID]
            if not end:
                return b""
            self._drop()
            data = data[end:]
        end = data.rfind(b"\n") + 1
        if end:
            whole = bytes(self._rest) + data[:end]
            self._rest = bytearray(data[end:])
        else:
            whole = b""
            self._rest += data
        if self._limit is not None and len(self._rest) > self._limit:
            self._too_long = True
            self._head = bytes(self._rest[:_LONGEST_ID])
            del self._rest[:-_LONGEST_ID]
        return whole

    def end(self) -> bytes:
        """The last line, which nobody ended, with a newline; empty when there is none."""
        if self._too_long:
            self._drop()
            return b""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest + b"\n" if rest else b""

    def _drop(self) -> None:
        found = id_in_head(self._head)
        self.dropped.append(found[0] if found is not None else id_in_tail(bytes(self._rest)))
        self._too_long = False
        self._rest.clear()


def lines_of(whole: bytes) -> list[bytes]:
    """The lines of what `LineSplitter.feed` gave, without their newlines."""
    return whole[:-1].split(b"\n") if whole else []


def too_long(request_id: RequestId | None) -> bytes:
    """The JSON-RPC error for a line over LINE_LIMIT."""
    return error_line(request_id, -32600, f"a message may be {LINE_LIMIT} bytes at most; this one was not read")


def error_line(request_id: RequestId | None, code: int, message: str) -> bytes:
    import json

    answer = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _plain_id(raw: bytes) -> RequestId | None:
    """A request id that needs no JSON parser to be read; None for any other."""
    if raw.isdigit() and len(raw) < 19:
        return int(raw)
    if len(raw) > 1 and raw[:1] == raw[-1:] == b'"' and raw.count(b'"') == 2 and b"\\" not in raw and raw.isascii():
        return raw[1:-1].decode()
    return None


def id_in_head(line: bytes) -> tuple[RequestId, int] | None:
    """The id of a line that begins as the owner's lines do, and where it ends; None when it begins otherwise."""
    if not line.startswith(_ID_FIRST):
        return None
    start = len(_ID_FIRST)
    end = line.find(b",", start, start + _LONGEST_ID)
    found = _plain_id(line[start:end]) if end > 0 else None
    return None if found is None else (found, end)


def id_in_tail(line: bytes) -> RequestId | None:
    """The id of a line that ends with it, as some clients write theirs."""
    start = line.rfind(_ID_LAST)
    return _plain_id(line[start + len(_ID_LAST) :].strip().removesuffix(b"}").strip()) if start >= 0 else None


def parsed(line: bytes) -> Object | None:
    """A JSON object, or None for anything else."""
    import json

    try:
        message: Json = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def request_id_of(message: Object) -> RequestId | None:
    found = message.get("id")
    return found if isinstance(found, (int, str)) and not isinstance(found, bool) else None


def as_object(value: Json) -> Object:
    return value if isinstance(value, dict) else {}


def hello_line(hello: Mapping[str, object]) -> bytes:
    """The first line to the owner: `hello` with the protocol's number before it."""
    parts = [f'"daimon":{PROTOCOL}']
    for name, value in hello.items():
        if value is None or isinstance(value, bool):
            text = {None: "null", True: "true", False: "false"}[value]
        elif isinstance(value, str) and value.isascii() and value.isprintable() and not ('"' in value or "\\" in value):
            text = f'"{value}"'
        else:
            import json

            text = json.dumps(value)
        parts.append(f'"{name}":{text}')
    return ("{" + ",".join(parts) + "}\n").encode()

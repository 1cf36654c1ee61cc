"""A receiver of webhooks on a loopback port: it keeps what it was posted, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
from tests.support.gate import PATIENCE, Gate


@dataclass(frozen=True, slots=True)
class Posted:
    """One POST as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return self.json["event"]


@dataclass
class _Answer:
    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""
    gate: Gate | None = None
    hang_up: bool = False


class Receiver:
    """What tests hold in their hands. Answers 200 unless it is told otherwise, by path or for all paths (None)."""

    def __init__(self, scheme: str) -> None:
        self.posted: list[Posted] = []
        self.connections = 0
        self.port = 0
        self._scheme = scheme
        self._answers: dict[str | None, tuple[_Answer, int | None]] = {}
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    def answer(
        self,
        status: int,
        *,
        path: str | None = None,
        times: int | None = None,
        body: bytes = b"",
        hang_up: bool = False,
        **headers: str,
    ) -> None:
        """How the next `times` POSTs (None: all) are answered, at one path or at all."""
        given = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._answers[path] = _Answer(status, given, body, hang_up=hang_up), times

    def hold(self, *, path: str | None = None, status: int = 200) -> Gate:
        """POSTs there are answered when the gate is opened."""
        gate = Gate()
        self._answers[path] = _Answer(status, gate=gate), None
        return gate

    async def wait(self, count: int, fits: Callable[[Posted], bool] = lambda _: True) -> list[Posted]:
        """The POSTs that fit, when there are `count` of them. Raises TimeoutError when they do not come."""
        async with asyncio.timeout(PATIENCE):
            while len(found := [each for each in self.posted if fits(each)]) < count:
                self._news.clear()
                await self._news.wait()
        return found

    def _pick(self, path: str) -> _Answer:
        for key in (path, None):
            if key in self._answers:
                answer, times = self._answers[key]
                if times is not None:
                    if times == 1:
                        del self._answers[key]
                    else:
                        self._answers[key] = answer, times - 1
                return answer
        return _Answer(200)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        http = h11.Connection(h11.SERVER)
        try:
            while True:
                request: h11.Request | None = None
                body = b""
                while True:
                    event = http.next_event()
                    if event is h11.NEED_DATA:
                        http.receive_data(await reader.read(65_536))
                    elif isinstance(event, h11.Request):
                        request = event
                    elif isinstance(event, h11.Data):
                        body += bytes(event.data)
                    elif isinstance(event, h11.EndOfMessage):
                        break
                    else:
                        return
                assert request is not None
                headers = {name.decode(): value.decode() for name, value in request.headers}
                path = request.target.decode()
                answer = self._pick(path)
                self.posted.append(Posted(path, headers, body, number))
                self._news.set()
                if answer.gate is not None:
                    await answer.gate.pass_through()
                if answer.hang_up:
                    return
                given = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers]
                given.append((b"Content-Length", str(len(answer.body)).encode()))
                writer.write(http.send(h11.Response(status_code=answer.status, headers=given)) or b"")
                writer.write(http.send(h11.Data(data=answer.body)) or b"")
                writer.write(http.send(h11.EndOfMessage()) or b"")
                await writer.drain()
                if http.our_state is h11.MUST_CLOSE:
                    return
                http.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, *, port: int = 0) -> AsyncGenerator[Receiver]:
    """A receiver that runs until the end."""
    made = Receiver("http" if tls is None else "https")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        made._tasks.add(task)  # pyright: ignore[reportPrivateUsage]
        try:
            await made._serve(reader, writer)  # pyright: ignore[reportPrivateUsage]
        except asyncio.CancelledError:
            pass
        finally:
            made._tasks.discard(task)  # pyright: ignore[reportPrivateUsage]

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        tasks = list(made._tasks)  # pyright: ignore[reportPrivateUsage]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

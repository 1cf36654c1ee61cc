"""Access tokens from a command of the operator's."""

from __future__ import annotations

import asyncio
import shlex

TOKEN_SECONDS = 60.0
MAX_TOKEN = 16_384


class NoToken(Exception):
    """The command gives none; the message says why, and nothing of what it printed."""


async def access_token(command: str) -> str:
    """Run `command`, without a shell; the first line it prints. Raises NoToken.

    It is ended when it takes longer than TOKEN_SECONDS, or when we are cancelled.
    """
    try:
        words = shlex.split(command)
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (OSError, ValueError, TypeError) as error:  # not there, not allowed, an open quote, nothing at all
        raise NoToken(
            f"oauth_command cannot be run: {getattr(error, 'strerror', None) or 'check its quotes'}"
        ) from None
    assert process.stdout is not None
    printed = b""
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            while piece := await process.stdout.read(MAX_TOKEN):  # to the end, or it would wait for somebody to read
                printed += piece if len(printed) <= MAX_TOKEN else b""
            status = await process.wait()
    except TimeoutError:
        raise NoToken(f"oauth_command has not ended after {TOKEN_SECONDS:.0f} seconds") from None
    finally:
        # Ends it if it still runs, and waits for nothing: not for a child of it either that keeps the pipe open.
        process._transport.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    if status:
        raise NoToken(f"oauth_command ended with status {status}")
    line = printed.partition(b"\n")[0]
    if len(line) > MAX_TOKEN:
        raise NoToken("oauth_command prints more than a token")
    try:
        token = line.strip().decode("ascii")
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise NoToken("oauth_command prints no token on its first line")
    return token

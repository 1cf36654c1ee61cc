"""Access tokens from a command of the operator's."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress

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
            limit=MAX_TOKEN,
        )
    except (OSError, ValueError, TypeError) as error:  # not there, not allowed, an open quote, nothing at all
        raise NoToken(
            f"oauth_command cannot be run: {getattr(error, 'strerror', None) or 'check its quotes'}"
        ) from None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            line = await process.stdout.readline()
            while await process.stdout.read(MAX_TOKEN):  # or it would wait for somebody to read
                pass
            status = await process.wait()
    except TimeoutError:
        raise NoToken(f"oauth_command has not ended after {TOKEN_SECONDS:.0f} seconds") from None
    except ValueError:  # a line longer than the limit
        raise NoToken("oauth_command prints more than a token") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    if status:
        raise NoToken(f"oauth_command ended with status {status}")
    try:
        token = line.strip().decode("ascii")
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise NoToken("oauth_command prints no token on its first line")
    return token

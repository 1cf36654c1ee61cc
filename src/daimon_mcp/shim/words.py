"""What the bridge says to the person who started its client: on stderr, and with an exit code."""

from __future__ import annotations

import os


class Leave(Exception):
    """The bridge cannot go on: what to say on stderr, and the exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def say(text: str) -> None:
    """To the person who looks at stderr. By descriptor, since print without a stderr would write to stdout."""
    try:
        os.write(2, f"daimon-mcp: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return

"""Load for the event loop of another process: eight clients that read and send, and two that move large mail.

`python -m benchmarks.callers DATA_DIR SMTP_PORT SECONDS`; prints the calls and mails done, as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import smtplib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.folders import INBOX, OTHER
from benchmarks.mails import mail
from benchmarks.processes import Server, daimon_command, environment

CALLERS = 8
LARGE = 1_000_000


def _call(server: Server, number: int, done: Counter[str]) -> None:
    """One turn of a caller: two reads and a send."""
    page = server.call("list_messages", inbox=INBOX, limit=20)["structuredContent"]["result"]["messages"]
    server.call("get_message", message_id=page[number % len(page)]["id"])
    server.call("send_email", inbox=INBOX, to=OTHER, subject=f"Turn {number}", body="Hello " * 40, allow_duplicate=True)
    done["calls"] += 3


def _send_large(server: Server, number: int, done: Counter[str]) -> None:
    """A send with a large attachment, as the tool takes it."""
    content = base64.b64encode(os.urandom(LARGE * 3 // 4)).decode()
    attachment = {"filename": "noise.bin", "content": content}
    server.call("send_email", inbox=INBOX, to=OTHER, subject=f"Large {number}", body="See it", attachments=[attachment])
    done["large sent"] += 1


def main(folder: Path, port: int, seconds: float) -> None:
    """Call until the time is up."""
    until = time.monotonic() + seconds
    done: Counter[str] = Counter()

    def with_client(turn: Callable[[Server, int, Counter[str]], None]) -> None:
        with Server(daimon_command(), environment(folder)) as server:
            server.initialize()
            number = 0
            while time.monotonic() < until:
                turn(server, number, done)
                number += 1

    def receive_large() -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            number = 0
            while time.monotonic() < until:
                client.sendmail("ann@example.com", [INBOX], mail(LARGE, number, to=INBOX))
                done["large received"] += 1
                number += 1

    threads = [threading.Thread(target=with_client, args=(_call,)) for _ in range(CALLERS)]
    threads += [threading.Thread(target=with_client, args=(_send_large,)), threading.Thread(target=receive_large)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

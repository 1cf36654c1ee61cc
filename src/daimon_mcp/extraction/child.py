"""The child process: reads jobs from stdin, answers on stdout, leaves when stdin ends.

`python -I -m daimon_mcp.extraction.child PARENT MEMORY`: the parent's process id and the octets of address space.
It says `ready` once, and `taken` when it has read the header of a job, before the content. A job's header: `format`,
`charset`, `max_text`, `seconds`. The answer's: `status`, `truncated`, `facts`, `last` (the process leaves after it);
its content is the text in UTF-8.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, BinaryIO

from daimon_mcp.extraction.frames import LENGTHS, lead
from daimon_mcp.extraction.limits import allow_time, bytecode_allowed, confine, grown, time_over
from daimon_mcp.extraction.sink import Full, Sink, Unreadable

_MAX_JOBS = 200
# A file that takes long is read as far as it goes in this share of its time; the rest is for what cannot be stopped.
_SHARE = 0.7
_OUT_OF_MEMORY: dict[str, Any] = {"status": "out_of_memory", "truncated": False, "facts": {}, "last": True}


def read_job(content: bytes, header: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """One job: the header and the content of its answer. Does not raise, but for what cannot be caught."""
    sink = Sink(header["max_text"], time.monotonic() + _SHARE * header["seconds"])
    status, timed_out = "ok", False
    try:
        try:
            with bytecode_allowed():
                module = importlib.import_module(f"daimon_mcp.extraction.formats.{header['format']}")
        except (ImportError, OSError, SyntaxError) as error:  # a library that is not there is no fault of the file
            return {"status": "failed", "truncated": False, "facts": {"why": repr(error)}, "last": True}, b""
        module.read(content, sink, header["charset"])
    except Full:
        sink.truncated = True
        timed_out = not sink.is_full
    except MemoryError:
        return _OUT_OF_MEMORY, b""
    except Unreadable as problem:
        status = problem.status
    except Exception:  # noqa: BLE001 - a library fails in its own way on what strangers send
        status = "damaged"
    text = sink.text()
    truncated = sink.truncated
    if text:
        truncated = truncated or status != "ok"
        status = "ok"
    elif status == "ok":
        status = "timed_out" if timed_out else "empty"
    return {"status": status, "truncated": truncated, "facts": sink.facts, "last": False}, text.encode()


def serve(jobs: BinaryIO, answers: BinaryIO, memory: int) -> None:
    """Answer jobs until there are no more, or a new process is better for the next."""
    for number in range(1, _MAX_JOBS + 1):
        lengths = jobs.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return
        header_size, size = LENGTHS.unpack(lengths)
        header = json.loads(jobs.read(header_size))
        answers.write(lead({"taken": True}, 0))
        answers.flush()
        allow_time(header["seconds"])
        try:
            content = jobs.read(size)
            if len(content) < size:
                return
            answer, text = read_job(content, header)
        except MemoryError:
            answer, text = _OUT_OF_MEMORY, b""
        content = b""
        time_over()
        answer["last"] = answer["last"] or number == _MAX_JOBS or grown(memory)
        answers.write(lead(answer, len(text)))
        answers.write(text)
        answers.flush()
        if answer["last"]:
            return


def main() -> None:
    """Set the limits, say ready, and serve."""
    parent, memory = int(sys.argv[1]), int(sys.argv[2])
    # Nothing that a library prints may come between the answers.
    answers_fd = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)
    confine(memory, parent)
    with os.fdopen(0, "rb", closefd=False) as jobs, os.fdopen(answers_fd, "wb") as answers:
        answers.write(lead({"ready": True}, 0))
        answers.flush()
        serve(jobs, answers, memory)
    # Libraries that take a process down while it leaves are not worth waiting for.
    os._exit(0)


if __name__ == "__main__":
    main()

"""Log lines: one a record, nothing secret, nothing a stranger could forge."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp import logs
from daimon_mcp.logs import WIRE, Formatter, cid, configure, new_cid, one_line, redact

LOGGERS = ("", "daimon_mcp", WIRE)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged by `configure(..., stream=stream)`; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in LOGGERS}
    with warnings.catch_warnings():
        yield io.StringIO()
        logging.captureWarnings(False)
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def record(message: object, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("daimon_mcp.test", logging.INFO, "", 0, message, arguments, None)
    made.created = 1_795_251_600.25
    made.__dict__.update(extra)
    return made


def text_of(message: object, *arguments: object, **extra: object) -> str:
    return Formatter(json_lines=False).format(record(message, *arguments, **extra))


def json_of(message: object, *arguments: object, **extra: object) -> dict[str, object]:
    return json.loads(Formatter(json_lines=True).format(record(message, *arguments, **extra)))


def test_a_line_has_time_level_logger_message_and_what_was_added() -> None:
    assert text_of("listening on %s", "127.0.0.1", port=25, note="a b", missing=None) == (
        "time=2026-11-21T09:00:00.250Z level=info logger=daimon_mcp.test "
        'msg="listening on 127.0.0.1" port=25 note="a b"'
    )
    assert json_of("listening on %s", "127.0.0.1", port=25, ok=True) == {
        "time": "2026-11-21T09:00:00.250Z",
        "level": "info",
        "logger": "daimon_mcp.test",
        "msg": "listening on 127.0.0.1",
        "port": 25,
        "ok": True,
    }


async def test_the_cid_is_on_every_line_of_what_it_started(stream: io.StringIO) -> None:
    configure(stream=stream)
    log = logging.getLogger("daimon_mcp.test")

    async def serve(seen: list[str]) -> None:
        seen.append(new_cid())
        async with anyio.create_task_group() as inner:
            inner.start_soon(anyio.lowlevel.checkpoint)
            log.info("served")

    seen: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, seen)
        tasks.start_soon(serve, seen)
    assert cid.get() == ""
    assert len(set(seen)) == 2
    assert [line.split()[3] for line in stream.getvalue().splitlines()] == [f"cid={value}" for value in seen]


def test_a_stranger_cannot_end_a_line_or_start_a_field() -> None:
    forged = 'x"\nlevel=error msg="all is lost\r\x85\u2028\u202e\x1b[31m\x00\ud800\\'
    line = text_of("subject %s", forged)
    assert line.count("\n") == 0
    assert line.isprintable()
    assert line.endswith(r'msg="subject x\"\nlevel=error msg=\"all is lost\r\x85\u2028\u202e\x1b[31m\x00\ud800\\"')
    assert line.count(" level=") == 1
    assert json_of("subject %s", forged)["msg"] == f"subject {forged}"


@given(st.text())
def test_any_text_is_one_printable_line(text: str) -> None:
    for line in (text_of("%s", text, extra_field=text), Formatter(json_lines=True).format(record("%s", text))):
        assert len(line.splitlines()) == 1
        line.encode("utf-8")
    assert len(one_line(text).splitlines()) <= 1
    assert json_of("%s", text)["msg"] == redact(text)


def test_an_exception_is_one_line_and_long_ones_are_cut_in_the_middle() -> None:
    try:
        raise ValueError("first\nsecond dm_live_abcdef" + "y" * 20_000 + "the end")
    except ValueError as error:
        made = record("it failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    line = Formatter(json_lines=False).format(made)
    assert line.count("\n") == 0
    assert r"Traceback (most recent call last):\n" in line
    assert r"first\nsecond dm_live_…redacted" in line
    assert "abcdef" not in line

    assert len(text_of("z" * 1_000_000)) < logs.MAX_MESSAGE + 200
    assert text_of("a" + "z" * 1_000_000 + "b").endswith('zb"')


def test_arguments_that_do_not_fit_lose_nothing() -> None:
    assert "msg=\"%d messages ('three',)\"" in text_of("%d messages", "three")


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ("key dm_free_0123abcXYZ used", "key dm_free_…redacted used"),
        ("key=dm_live_0123", "key=dm_live_…redacted"),
        ("password smtp_secret_a-b_c, imap_secret_9", "password smtp_secret_…redacted, imap_secret_…redacted"),
        ("signed with whsec_MfKQ9r8+/w==", "signed with whsec_…redacted"),
        ("C: AUTH PLAIN AGFkYQBodW50ZXIy", "C: AUTH PLAIN …redacted"),
        ("b'auth plain AGFkYQBodW50ZXIy\\r\\n'", "b'auth plain …redacted\\r\\n'"),
        ("C: AUTH XOAUTH2 dXNlcj1hZGE=", "C: AUTH XOAUTH2 …redacted"),
        ("C: AUTH LOGIN", "C: AUTH LOGIN"),
        ("S: 334 UGFzc3dvcmQ6", "S: 334 UGFzc3dvcmQ6"),
        ("C: aHVudGVyMg==", "C: …redacted"),
        ("C: STARTTLS", "C: STARTTLS"),
        ("C: EHLO mail.example", "C: EHLO mail.example"),
        ("C: MAIL FROM:<ada@mx.example>", "C: MAIL FROM:<ada@mx.example>"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …redacted"),
        ("Authorization: Basic YTpi", "Authorization: Basic …redacted"),
        ("GET /upgrade?token=eyJhbGciOiJI.eyJhY2Mi.c2ln HTTP", "GET /upgrade?token=eyJhbGc…redacted HTTP"),
        ("AUTH failed for %r", "AUTH failed for %r"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_secrets_are_cut_down_to_their_kind(said: str, logged: str) -> None:
    assert redact(said) == logged
    assert json_of("%s", said, also=said)["also"] == logged


def test_ours_at_its_level_and_libraries_from_warning_on(stream: io.StringIO) -> None:
    configure("debug", stream=stream)
    logging.getLogger("daimon_mcp.store").debug("ours")
    logging.getLogger("mail.log").info("AGFkYQ== of a library")
    logging.getLogger("mail.log").warning("careful")
    assert [line.partition(" msg=")[2] for line in stream.getvalue().splitlines()] == ["ours", "careful"]

    configure("error", stream=stream)
    logging.getLogger("daimon_mcp.store").warning("quiet")
    logging.getLogger("mail.log").warning("quiet")
    assert "quiet" not in stream.getvalue()


def test_conversations_are_logged_on_request_alone(stream: io.StringIO) -> None:
    configure("debug", stream=stream)
    logging.getLogger(WIRE).info("C: QUIT")
    assert stream.getvalue() == ""
    configure("warning", wire=True, stream=stream)
    logging.getLogger(WIRE).debug("C: QUIT")
    assert stream.getvalue().endswith('logger=daimon_mcp.wire msg="C: QUIT"\n')


def test_configuring_twice_does_not_say_things_twice(stream: io.StringIO) -> None:
    configure(stream=stream)
    configure(format="json", stream=stream)
    logging.getLogger("daimon_mcp").info("once")
    assert json.loads(stream.getvalue())["msg"] == "once"


def test_a_warning_is_a_line_too(stream: io.StringIO) -> None:
    configure(stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old\nnews", UserWarning, stacklevel=1)
    [line] = stream.getvalue().splitlines()
    assert "level=warning logger=py.warnings" in line
    assert r"UserWarning: old\nnews" in line


def test_standard_output_stays_clean(stream: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("daimon_mcp").error("to the right place")
    written = capfd.readouterr()
    assert written.out == ""
    assert "to the right place" in written.err
    assert stream.getvalue() == ""

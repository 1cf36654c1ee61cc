"""The programs that people have: written for some SMTP server, pointed at this one by host, port, user and password."""

from __future__ import annotations

import email
import email.policy
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme
from tests.support.programs import ROOT, Finished, build_go, run, run_node, run_python, swaks
from tests.support.sink import Sink

SAMPLES = ROOT / "tests/samples"
FROM, TO = "robo@agents.localhost", "ann@example.com"
USERNAME, PASSWORD = "dm_test_user", "a password, with spaces"


@dataclass(frozen=True)
class Submission:
    """Where a program sends. `either_port` takes TLS at once, although STARTTLS is the documented way there."""

    host: str
    starttls_port: int
    tls_port: int
    either_port: int
    trust: Path
    taken: Callable[[], Awaitable[EmailMessage]]

    def environment(self, port: int) -> Mapping[str, str]:
        """What a sample is told, and the CA by which its language trusts this server."""
        return {
            "SMTP_HOST": self.host,
            "SMTP_PORT": str(port),
            "SMTP_USERNAME": USERNAME,
            "SMTP_PASSWORD": PASSWORD,
            "SMTP_FROM": FROM,
            "SMTP_TO": TO,
            "SSL_CERT_FILE": str(self.trust),
            "NODE_EXTRA_CA_CERTS": str(self.trust),
        }


@asynccontextmanager
async def sinks(server_tls: ssl.SSLContext, trust: Path) -> AsyncGenerator[Submission]:
    """A server with STARTTLS and one with TLS at once, both with passwords."""
    users = {USERNAME: PASSWORD}
    async with Sink(starttls=server_tls, users=users) as starttls, Sink(tls=server_tls, users=users) as tls:

        async def taken() -> EmailMessage:
            [stored] = starttls.messages + tls.messages
            assert (stored.tls, stored.username, stored.mail_from, stored.recipients) == (True, USERNAME, FROM, [TO])
            return email.message_from_bytes(stored.content, policy=email.policy.default)

        yield Submission("localhost", starttls.port, tls.port, tls.port, trust, taken)


@pytest.fixture
async def submission(tmp_path: Path) -> AsyncGenerator[Submission]:
    """Where the samples send to."""
    authority = trustme.CA()
    trust = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trust))
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_tls)  # pyright: ignore[reportUnknownMemberType]
    async with sinks(server_tls, trust) as made:
        yield made


@pytest.fixture(scope="module")
async def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go sample, compiled."""
    return await build_go(SAMPLES / "go_smtp", tmp_path_factory.mktemp("go") / "sample")


def assert_sent(finished: Finished) -> None:
    assert finished.succeeded().startswith("sent")
    assert finished.errors == ""


async def test_python_smtplib_sends(submission: Submission) -> None:
    environment = submission.environment(submission.starttls_port)
    assert_sent(await run_python(SAMPLES / "python_smtplib.py", env=environment))
    mail = await submission.taken()
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Hello from smtplib", FROM, TO)
    assert mail.get_content_type() == "multipart/alternative"


async def test_nodemailer_with_starttls_sends(submission: Submission, tmp_path: Path) -> None:
    environment = submission.environment(submission.starttls_port)
    finished = await run_node(SAMPLES / "nodemailer_starttls.mjs", env=environment, folder=tmp_path)
    assert_sent(finished)
    mail = await submission.taken()
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Hello from nodemailer", FROM, TO)
    assert mail["Message-ID"] in finished.output


async def test_nodemailer_with_tls_at_once_sends(submission: Submission, tmp_path: Path) -> None:
    environment = submission.environment(submission.tls_port)
    finished = await run_node(SAMPLES / "nodemailer_tls.mjs", env=environment, folder=tmp_path)
    assert_sent(finished)
    mail = await submission.taken()
    assert mail["Subject"] == "Hello from nodemailer over TLS"
    assert mail["Message-ID"] in finished.output


async def test_go_net_smtp_sends_over_tls_at_once(submission: Submission, go_program: Path) -> None:
    assert_sent(await run(go_program, env=submission.environment(submission.either_port)))
    mail = await submission.taken()
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Hello from Go", FROM, TO)
    assert mail.get_content().strip() == "Sent by Go over SMTP."


async def test_a_wrong_password_ends_a_sample_with_an_error(submission: Submission) -> None:
    environment = {**submission.environment(submission.starttls_port), "SMTP_PASSWORD": "wrong"}
    finished = await run_python(SAMPLES / "python_smtplib.py", env=environment)
    assert finished.code == 1
    assert "SMTPAuthenticationError: (535" in finished.errors


async def test_swaks_sends_with_starttls(submission: Submission) -> None:
    server = f"--server {submission.host} --port {submission.starttls_port} --tls --tls-verify".split()
    login = ["--auth", "PLAIN", "--auth-user", USERNAME, "--auth-password", PASSWORD]
    letter = ["--from", FROM, "--to", TO, "--header", "Subject: Hello from swaks"]
    trust = ["--tls-ca-path", str(submission.trust)]
    finished = await swaks(*server, *trust, *login, *letter)
    assert " ~> .\n<~  250" in finished.succeeded()
    assert (await submission.taken())["Subject"] == "Hello from swaks"

"""The programs that people have: written for some SMTP server, pointed at this one by host, port, user and password."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.faces.smtp.mailroom import Mailroom, mailroom, relay_to
from tests.support.programs import ROOT, Finished, build_go, run, run_node, run_python, swaks
from tests.support.sink import Sink

SAMPLES = ROOT / "tests/samples"
FROM, TO = "robo@agents.localhost", "ann@example.com"


@dataclass(frozen=True)
class Submission:
    """Where a program sends, as an agent is told, and where its mails end."""

    room: Mailroom
    sink: Sink
    trust: Path
    shown: Mapping[str, Any]

    @property
    def starttls_port(self) -> int:
        """The port that is documented for STARTTLS. It takes TLS at once too."""
        return self.shown["port"]

    @property
    def tls_port(self) -> int:
        """The port with TLS at once."""
        return self.room.daimon.submission_tls[1]

    def environment(self, port: int) -> Mapping[str, str]:
        """What a sample is told, and the CA by which its language trusts this server."""
        return {
            "SMTP_HOST": self.shown["host"],
            "SMTP_PORT": str(port),
            "SMTP_USERNAME": self.shown["username"],
            "SMTP_PASSWORD": self.shown["password"],
            "SMTP_FROM": FROM,
            "SMTP_TO": TO,
            "SSL_CERT_FILE": str(self.trust),
            "NODE_EXTRA_CA_CERTS": str(self.trust),
        }

    async def taken(self) -> EmailMessage:
        """The one mail, which came to the sink, and which an agent finds in Sent as delivered."""

        async def delivered() -> bool:
            listed = (await self.room.agent.do("list_messages", label="sent"))["messages"]
            return [each["delivery_status"] for each in listed] == ["sent"]

        await self.room.until(delivered)
        [stored] = self.sink.messages
        assert (stored.mail_from, stored.recipients) == (FROM, [TO])
        mail = email.message_from_bytes(stored.content, policy=email.policy.default)
        [listed] = (await self.room.agent.do("list_messages", label="sent"))["messages"]
        assert (listed["subject"], listed["from_address"], listed["to_addresses"]) == (mail["Subject"], FROM, [TO])
        assert listed["message_id"] == mail["Message-ID"]
        return mail


@pytest.fixture
async def submission(tmp_path: Path) -> AsyncGenerator[Submission]:
    """A server whose account may use SMTP, with a certificate that programs can trust."""
    authority = trustme.CA()
    trust, chain, key = (tmp_path / name for name in ("authority.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(trust))
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(chain))
    leaf.private_key_pem.write_to_path(str(key))
    certificate = {"smtp": {"certificate": str(chain), "certificate_key": str(key)}}
    async with (
        Sink() as sink,
        mailroom(tmp_path / "data", relay_to(sink.port, **certificate), trusting=authority) as room,
    ):
        yield Submission(room, sink, trust, await room.agent.do("get_smtp_credentials"))


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
    assert_sent(await run(go_program, env=submission.environment(submission.starttls_port)))
    mail = await submission.taken()
    assert (mail["Subject"], mail["From"], mail["To"]) == ("Hello from Go", FROM, TO)
    assert mail.get_content().strip() == "Sent by Go over SMTP."


async def test_a_wrong_password_ends_a_sample_with_an_error(submission: Submission) -> None:
    environment = {**submission.environment(submission.starttls_port), "SMTP_PASSWORD": "wrong"}
    finished = await run_python(SAMPLES / "python_smtplib.py", env=environment)
    assert finished.code == 1
    assert "SMTPAuthenticationError: (535" in finished.errors


async def test_swaks_sends_with_starttls(submission: Submission) -> None:
    shown = submission.shown
    server = f"--server {shown['host']} --port {shown['port']} --tls --tls-verify".split()
    login = ["--auth", "PLAIN", "--auth-user", shown["username"], "--auth-password", shown["password"]]
    letter = ["--from", FROM, "--to", TO, "--header", "Subject: Hello from swaks"]
    trust = ["--tls-ca-path", str(submission.trust)]
    finished = await swaks(*server, *trust, *login, *letter)
    assert " ~> .\n<~  250 2.0.0 Ok: queued as msg_" in finished.succeeded()
    assert (await submission.taken())["Subject"] == "Hello from swaks"

"""`daimon-mcp doctor` beside a real relay, a DNS of our own and a policy host, in order and out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme
from tests.faces.cli.kit import Printed, command
from tests.journeys.test_direct_protected import ENFORCE, POLICIES, Certificates, policy_host
from tests.support.nameserver import nameserver
from tests.support.postfix import postfix

SERVER = """
mx.example.net.          A   192.0.2.25
25.2.0.192.in-addr.arpa. PTR mx.example.net.
"""
PORTS = {"DAIMON_SUBMISSION__PORT": "0", "DAIMON_SUBMISSION__TLS_PORT": "0"}


async def doctor(folder: Path, environment: Mapping[str, str], *arguments: str, status: int = 0) -> str:
    """What `doctor` says, with its exit status as expected."""

    def run() -> Printed:
        return command(folder, "doctor", *arguments, status=status, **PORTS, **environment)

    return (await asyncio.to_thread(run)).stdout


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    root = trustme.CA()
    file = tmp_path_factory.mktemp("trust") / "authority.pem"
    root.cert_pem.write_to_path(str(file))
    return Certificates(root, file)


async def test_a_relay_with_tls_and_a_login_is_tried(tmp_path: Path, ours: Certificates) -> None:
    certificate = ours.root.issue_cert("127.0.0.1")
    async with postfix(certificate=certificate, users={"robo": "secret and long"}) as server:
        relay = {
            "DAIMON_RELAY__HOST": server.host,
            "DAIMON_RELAY__PORT": str(server.port),
            "DAIMON_RELAY__USERNAME": "robo",
            "DAIMON_RELAY__PASSWORD": "secret and long",
            "DAIMON_RELAY__CA_FILE": str(ours.file),
        }
        where = f"relay {server.host}:{server.port}"
        assert f"ok   {where} answers and takes the login\n" in await doctor(tmp_path, relay)
        wrong = await doctor(tmp_path, relay | {"DAIMON_RELAY__PASSWORD": "another one"}, status=1)
        assert f"BAD  {where} refuses the login\n     Check [relay] username and password.\n" in wrong
        untrusted = await doctor(tmp_path, {k: v for k, v in relay.items() if "CA_FILE" not in k}, status=1)
        assert f"BAD  {where}: TLS: CERTIFICATE_VERIFY_FAILED\n     Check [relay] security and ca_file.\n" in untrusted
        at_once = relay | {"DAIMON_RELAY__PORT": str(server.tls_port), "DAIMON_RELAY__SECURITY": "tls"}
        assert "answers and takes the login" in await doctor(tmp_path, at_once)


async def test_who_delivers_directly_needs_a_dns_and_a_name(tmp_path: Path) -> None:
    async with nameserver(SERVER) as dns:
        direct = {
            "DAIMON_RELAY__MODE": "direct",
            "DAIMON_DNS__NAMESERVERS": dns.address,
            "DAIMON_SMTP__HOSTNAME": "mx.example.net",
        }
        said = await doctor(tmp_path, direct)
        assert "ok   mail goes to the servers of its recipients directly\n" in said
        assert "ok   mx.example.net is at 192.0.2.25\n" in said
        assert "ok   192.0.2.25 is called mx.example.net\n" in said
        nameless = await doctor(tmp_path, {k: v for k, v in direct.items() if "HOSTNAME" not in k}, status=1)
        assert "BAD  this server calls itself agents.localhost, which others cannot look up\n" in nameless
        dns.fail("*")
        mute = await doctor(tmp_path, direct, status=1)
        assert "BAD  the DNS gave no answer: " in mute
        assert "check [dns] nameservers" in mute


async def test_a_domain_with_a_policy(tmp_path: Path, ours: Certificates) -> None:
    name = "agents.example.com"
    zone = f"""{SERVER}
    _mta-sts.{name}. TXT "v=STSv1; id=1;"
    mta-sts.{name}.  A   {POLICIES}
    _smtp._tls.{name}. TXT "v=TLSRPTv1; rua=mailto:tls@{name}"
    """
    async with nameserver(zone) as dns:
        place = {
            "DAIMON_DNS__NAMESERVERS": dns.address,
            "DAIMON_MAIL__DOMAIN": name,
            "DAIMON_SMTP__HOSTNAME": "mx.example.net",
            "SSL_CERT_FILE": str(ours.file),
        }

        def records() -> str:
            return command(tmp_path, "domain", "records", name, status=0, **place).stdout

        dns.add((await asyncio.to_thread(records)).replace(" IN ", " "))
        listed = ENFORCE.replace("mx1.far.test", "mx.example.net")
        async with policy_host(ours, listed, name=name) as asked:
            said = await doctor(tmp_path, place, "--domain", name)
            assert "BAD" not in said
            assert "ok   MTA-STS: mode enforce\n" in said
            assert "ok   TLS reports: asked for\n" in said
            assert len(asked) == 1
        async with policy_host(ours, ENFORCE, name=name):
            said = await doctor(tmp_path, place, "--domain", name, status=1)
            assert "BAD  MTA-STS: mode enforce, does not list mx.example.net\n" in said

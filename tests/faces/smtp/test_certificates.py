"""The certificate we make, and TLS that follows its files; every handshake is a real one, in memory."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from daimon_mcp.domain.clock import DAY, parse_time
from daimon_mcp.faces.smtp.certificates import FILE_NAME, LIFETIME, RENEW_BEFORE, ServerTls, ensure_certificate

HOST = "mail.x.example"
NOW = parse_time("2026-11-21T09:00:00Z")


@dataclass
class Hand:
    """A monotonic clock moved by hand."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Pair:
    """Certificate files as an operator has them."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    @property
    def cert(self) -> Path:
        return self.folder / "fullchain.pem"

    @property
    def key(self) -> Path:
        return self.folder / "privkey.pem"

    def issue(self) -> tuple[bytes, bytes]:
        """A new certificate and its key."""
        leaf = self.authority.issue_cert(HOST)
        return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()

    def replace(self, path: Path, content: bytes) -> None:
        """As ACME clients do: a new file in the place of the old one."""
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(path)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    pair = Pair(tmp_path)
    cert, key = pair.issue()
    pair.cert.write_bytes(cert)
    pair.key.write_bytes(key)
    return pair


def served(server: ssl.SSLContext, client: ssl.SSLContext | None = None, name: str = HOST) -> tuple[bytes, str]:
    """The certificate (DER) a client gets, and the version of TLS; over a socket pair. Raises ssl.SSLError."""
    if client is None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    left, right = socket.socketpair()
    with left, right, ThreadPoolExecutor(1) as pool:
        left.settimeout(10)
        right.settimeout(10)
        answer = pool.submit(_serve, server, left)
        try:
            with client.wrap_socket(right, server_hostname=name) as secure:
                secure.recv(1)
                return secure.getpeercert(binary_form=True) or b"", secure.version() or ""
        finally:
            right.close()
            answer.exception()


def _serve(server: ssl.SSLContext, wire: socket.socket) -> None:
    with server.wrap_socket(wire, server_side=True) as secure:
        secure.send(b"2")


def trusting(path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_made_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "tls" / "smtp"
    made = ensure_certificate(folder, HOST, NOW)
    assert made == ensure_certificate(folder, HOST.upper() + ".", NOW + LIFETIME - RENEW_BEFORE - DAY)
    assert made.self_signed
    assert made.cert_path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("name", [HOST, "localhost", "127.0.0.1", "::1"])
def test_clients_that_trust_it_accept_it(tmp_path: Path, name: str) -> None:
    made = ensure_certificate(tmp_path, HOST, NOW)
    der, version = served(ServerTls(made.cert_path, made.key_path).context(), trusting(made.cert_path), name)
    found = x509.load_der_x509_certificate(der)
    assert version == "TLSv1.3"
    assert made.fingerprint_sha256 == found.fingerprint(hashes.SHA256()).hex(":").upper()
    assert (found.not_valid_after_utc - found.not_valid_before_utc).days == 3651


def test_only_for_its_names(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, HOST, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        served(ServerTls(made.cert_path, made.key_path).context(), trusting(made.cert_path), "other.example")


@pytest.mark.parametrize(
    ("hostname", "later"), [("new.x.example", 0), (HOST, LIFETIME - RENEW_BEFORE + DAY), (HOST, -2 * DAY)]
)
def test_renewed(tmp_path: Path, hostname: str, later: int) -> None:
    first = ensure_certificate(tmp_path, HOST, NOW)
    second = ensure_certificate(tmp_path, hostname, NOW + later)
    assert second.fingerprint_sha256 != first.fingerprint_sha256
    assert ensure_certificate(tmp_path, hostname, NOW + later) == second


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    first = ensure_certificate(tmp_path, HOST, NOW)
    whole = first.cert_path.read_bytes()
    other = ensure_certificate(tmp_path / "other", HOST, NOW).cert_path.read_bytes()
    mark = b"-----BEGIN CERTIFICATE"
    for damaged in (b"", whole[:200], whole[:-100], whole.partition(mark)[0] + mark + other.partition(mark)[2]):
        first.cert_path.write_bytes(damaged)
        again = ensure_certificate(tmp_path, HOST, NOW)
        assert again == ensure_certificate(tmp_path, HOST, NOW)
        served(ServerTls(again.cert_path, again.key_path).context(), trusting(again.cert_path))


@pytest.mark.parametrize(
    "hostname", ["203.0.113.7", "2001:DB8::7", "localhost", "bücher.example", "h" * 63 + ".example"]
)
def test_names_of_every_kind(tmp_path: Path, hostname: str) -> None:
    made = ensure_certificate(tmp_path, hostname, NOW)
    assert made == ensure_certificate(tmp_path, hostname, NOW)
    served(ServerTls(made.cert_path, made.key_path).context(), trusting(made.cert_path), hostname)


@pytest.mark.parametrize("hostname", ["", "a..b", "a b", "-x-.example", "x" * 64])
def test_names_no_certificate_can_hold(tmp_path: Path, hostname: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        ensure_certificate(tmp_path, hostname, NOW)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_start_at_once_end_up_with_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        started = [pool.submit(ensure_certificate, tmp_path, HOST, NOW) for _ in range(8)]
        made = [each.result() for each in started]
    last = ensure_certificate(tmp_path, HOST, NOW)
    assert last in made
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    served(ServerTls(last.cert_path, last.key_path).context(), trusting(last.cert_path))


def test_old_versions_of_tls_are_refused(pair: Pair) -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=pair.authority.cert_pem.bytes().decode())
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    context = ServerTls(pair.cert, pair.key).context()
    assert served(context, client)[1] == "TLSv1.2"
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_new_files_are_served_after_a_second_at_most(pair: Pair) -> None:
    hand = Hand()
    tls = ServerTls(pair.cert, pair.key, monotonic=hand)
    first = tls.context()
    cert, key = pair.issue()
    pair.replace(pair.cert, cert)
    pair.replace(pair.key, key)
    hand.seconds = 0.9
    assert tls.context() is first
    hand.seconds = 1.0
    second = tls.context()
    assert second is not first
    assert served(second)[0] == ssl.PEM_cert_to_DER_cert(
        cert.decode().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    )
    hand.seconds = 5.0
    assert tls.context() is second


@pytest.mark.parametrize("key_first", [False, True])
def test_half_a_replacement_changes_nothing(pair: Pair, key_first: bool, caplog: pytest.LogCaptureFixture) -> None:
    hand = Hand()
    tls = ServerTls(pair.cert, pair.key, monotonic=hand)
    before = served(tls.context())[0]
    cert, key = pair.issue()
    steps = [(pair.cert, cert), (pair.key, key)]
    half, rest = reversed(steps) if key_first else steps
    pair.replace(*half)
    with caplog.at_level(logging.INFO, "daimon_mcp"):
        for seconds in (1.0, 2.0, 3.0):
            hand.seconds = seconds
            assert served(tls.context())[0] == before
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        pair.replace(*rest)
        hand.seconds = 4.0
        assert served(tls.context())[0] != before
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_bad_files_change_nothing(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    hand = Hand()
    tls = ServerTls(pair.cert, pair.key, monotonic=hand)
    good, key = tls.context(), pair.key.read_bytes()
    loaded = serialization.load_pem_private_key(key, None)
    sealed = loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a passphrase"),
    )
    for bad in (b"", b"no key", key[: len(key) // 2], sealed):
        hand.seconds += 1
        pair.key.write_bytes(bad)
        assert tls.context() is good
    hand.seconds += 1
    pair.key.unlink()
    assert tls.context() is good
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 5
    pair.key.write_bytes(key)
    hand.seconds += 1
    assert tls.context() is not good
    served(tls.context())


def test_files_written_in_place_are_noticed(pair: Pair) -> None:
    hand = Hand()
    tls = ServerTls(pair.cert, pair.key, monotonic=hand)
    first = tls.context()
    stamp = pair.cert.stat()
    pair.cert.write_bytes(pair.cert.read_bytes() + b"\n")
    os.utime(pair.cert, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    hand.seconds = 1.0
    assert tls.context() is not first


def test_a_pair_that_cannot_be_loaded_at_first_is_an_error(pair: Pair) -> None:
    with pytest.raises(FileNotFoundError):
        ServerTls(pair.cert, pair.folder / "none.pem")
    pair.key.write_bytes(pair.issue()[1])
    with pytest.raises(ssl.SSLError):
        ServerTls(pair.cert, pair.key)

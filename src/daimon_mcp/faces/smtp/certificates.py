"""Server certificates: one of our own making when there is no other, and TLS contexts that follow their files.

A certificate is replaced by replacing its files; connections that begin afterwards get the new one, those that are
open keep theirs. There is nothing to restart and no signal to send.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import idna

from daimon_mcp.domain.clock import DAY, from_datetime, to_datetime

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger(__name__)

FILE_NAME: Final = "self-signed.pem"
LIFETIME: Final = 3650 * DAY
RENEW_BEFORE: Final = 30 * DAY
LOOK_EVERY: Final = 1.0  # seconds between looks at the files
TICKETS: Final = 1  # of TLS 1.3 a handshake: mail clients seldom resume, and each costs 250 octets and a key derivation
_TRIES: Final = 20
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key on disk, both PEM and perhaps in one file.

    `fingerprint_sha256` is of the certificate's DER, as `openssl x509 -fingerprint` writes it: `AB:CD:…`.
    """

    cert_path: Path
    key_path: Path
    fingerprint_sha256: str
    self_signed: bool


def ensure_certificate(folder: Path, hostname: str, now: int) -> Certificate:
    """The self-signed certificate in `folder`, made if there is none, for `hostname` and this machine's own names.

    ECDSA P-256, ten years; made anew when it expires within 30 days of `now` (epoch µs), is for other names or cannot
    be read. Certificate and key are one file of mode 0600, so that no crash and no race pairs one with the other's.
    Of processes that start at once the last to write wins, and the others follow it as they follow any replacement.
    Blocks for some milliseconds. Raises OSError when the folder cannot be written, ValueError for a host name that no
    certificate can hold.
    """
    path = folder / FILE_NAME
    names = _names(hostname)
    found = _read(path)
    if found is None or not _serves(found, names, now):
        _write(path, _make(names, now))
        found = _read(path)
        if found is None:
            raise OSError(f"{path} cannot be read back")
        log.info("made a self-signed certificate for %.200r", names[0])
    return Certificate(path, path, _fingerprint(found), self_signed=True)


class ServerTls:
    """A TLS context for servers that follows its certificate files."""

    def __init__(self, cert_path: Path, key_path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Load the pair: a chain in PEM, the server's own certificate first, and its key without a passphrase.

        Raises OSError (ssl.SSLError is one) when it cannot be loaded.
        """
        self._cert_path = cert_path
        self._key_path = key_path
        self._monotonic = monotonic
        self._seen = self._look()  # before loading: what changes meanwhile is seen as a change afterwards
        self._context = _context(cert_path, key_path)
        self._looked = monotonic()

    def context(self) -> ssl.SSLContext:
        """The context for a connection that begins now. To be asked for each one, not kept.

        Looks at the files at most once a second, and loads them, in under a millisecond, when they have changed. A
        pair that cannot be loaded, such as a new certificate whose key has not been replaced yet, is logged once, and
        the last good one goes on serving until the files change again.
        """
        now = self._monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._reload()
        return self._context

    def _reload(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._context = _context(self._cert_path, self._key_path)
        except OSError as error:
            log.warning("new TLS certificate files cannot be used, the certificate stays as it was: %.300r", error)
        else:
            log.info("TLS certificate loaded from %s", self._cert_path)

    def _look(self) -> tuple[tuple[int, ...], ...]:
        """What tells one state of the files from another; with the change time, as permissions may be the trouble."""
        return (_state(self._cert_path), _state(self._key_path))


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _context(cert_path: Path, key_path: Path) -> ssl.SSLContext:
    """TLS 1.2 or later with the library's ciphers (RFC 8314 §4, RFC 9325), no compression, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = TICKETS
    # The library opens the files one after the other, one file twice: what is replaced meanwhile is read again.
    for _ in range(_TRIES):
        before = _state(cert_path), _state(key_path)
        try:
            # A passphrase that is given and wrong is an error; without one the library would ask on the terminal.
            context.load_cert_chain(cert_path, key_path, password="")
        except OSError:
            if before == (_state(cert_path), _state(key_path)):
                raise
        else:
            return context
    raise OSError(f"{cert_path} and {key_path} do not come to rest")


def _names(hostname: str) -> tuple[str, ...]:
    """The names and addresses a certificate is for, the host's own first, its domain as A-labels."""
    host = hostname.strip().rstrip(".").lower()
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise ValueError("the host name cannot be in a certificate") from None
    return tuple(dict.fromkeys((host, *_LOCAL)))


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make(names: Sequence[str], now: int) -> bytes:
    """A new key and certificate as PEM, the key first."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    # A name of at most 64 characters (RFC 5280, ub-common-name); clients go by the alternative names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(to_datetime(now - DAY))  # for clients whose clock is behind
        .not_valid_after(to_datetime(now + LIFETIME))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _read(path: Path) -> x509.Certificate | None:
    """The certificate in a file of ours whose key fits it; None when there is none, or it was damaged."""
    from cryptography import x509

    try:
        _context(path, path)
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def _serves(found: x509.Certificate, names: Sequence[str], now: int) -> bool:
    """Whether a certificate is for exactly these names, and is valid now and for a while."""
    from cryptography import x509

    try:
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    begins, ends = from_datetime(found.not_valid_before_utc), from_datetime(found.not_valid_after_utc)
    return list(held) == [_general_name(name) for name in names] and begins <= now <= ends - RENEW_BEFORE


def _fingerprint(found: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return hashlib.sha256(found.public_bytes(Encoding.DER)).digest().hex(":").upper()


def _write(path: Path, content: bytes) -> None:
    """Put a file in place whole, and on disk, or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

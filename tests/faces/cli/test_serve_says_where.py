"""What `daimon-mcp serve` prints for mail programs: where they log in, and how they know its certificate."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
from pathlib import Path

from tests.faces.cli.kit import PROGRAM, environ


def test_serve_prints_the_submission_ports_and_the_fingerprint(tmp_path: Path) -> None:
    with subprocess.Popen([*PROGRAM, "serve"], env=environ(tmp_path), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = ""
            while "Approve what agents ask" not in said:
                line = server.stdout.readline()
                assert line, said
                said += line
            at = re.search(r"  SMTP submission +(\S+):(\d+) with STARTTLS, (\S+):(\d+) with TLS\n", said)
            told = re.search(r"  TLS certificate +self-signed, SHA-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})\n", said)
            assert at is not None, said
            assert told is not None, said
            shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((at[3], int(at[4]))))
            assert hashlib.sha256(shown).digest().hex(":").upper() == told[1]
        finally:
            server.terminate()
    assert server.returncode == 0

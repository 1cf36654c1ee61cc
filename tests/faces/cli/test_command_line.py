"""The command line, as a person types it: real processes, with and without a server running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from daimon_mcp import __version__


def environ(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAIMON_")}
    options = ("HTTP__PORT", "SMTP__INBOUND_PORT", "SUBMISSION__PORT", "SUBMISSION__TLS_PORT")
    ports = {f"DAIMON_{option}": "0" for option in options}
    return {**kept, "DAIMON_DATA_DIR": str(folder), **ports, **more}


def daimon(folder: Path, *arguments: str, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "daimon_mcp", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ(folder, **more),
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


@contextmanager
def serving(folder: Path, **more: str) -> Generator[str]:
    """`daimon-mcp serve`; what it printed until it was ready."""
    with subprocess.Popen(
        [sys.executable, "-m", "daimon_mcp", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(folder, **more),
    ) as server:
        assert server.stdout is not None
        printed = ""
        for line in server.stdout:
            printed += line
            if line.startswith("Approve what agents ask"):
                break
        try:
            yield printed
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=20)
        assert server.returncode == 0


def test_version_and_help(tmp_path: Path) -> None:
    assert daimon(tmp_path, "--version").stdout == f"daimon-mcp {__version__}\n"
    assert "operator" in daimon(tmp_path, "--help").stdout
    assert "No such command" in daimon(tmp_path, "sreve", status=2).stderr


def test_serve_says_how_to_connect_and_shows_secrets_once(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        base = re.search(r"(http://127\.0\.0\.1:\d+)/mcp", first)
        assert base is not None
        assert httpx2.get(f"{base[1]}/healthz").json()["version"] == __version__
        assert re.search(r"passcode, shown this once: \S+", first)
        key = re.search(r"shown this once: (dm_free_\w+)", first)
        assert key is not None
        listed = daimon(tmp_path, "keys", "list").stdout
        assert key[1] not in listed
        assert key[1][:12] in listed
    with serving(tmp_path) as second:
        assert "shown this once" not in second
        assert "claude mcp add daimon" in second


@pytest.mark.parametrize("with_server", [True, False])
def test_operator_and_keys_with_and_without_a_server(tmp_path: Path, with_server: bool) -> None:
    def story() -> None:
        assert "Nothing waits" in daimon(tmp_path, "operator", "list").stdout
        made = daimon(tmp_path, "keys", "create", "--name", "ci")
        assert re.fullmatch(r"dm_free_\w+\n", made.stdout)
        accounts = daimon(tmp_path, "operator", "accounts").stdout
        account = re.search(r"acc_\w+", accounts)
        assert account is not None
        assert "is on pro" in daimon(tmp_path, "operator", "tier", account[0], "growth").stdout
        assert "pro" in daimon(tmp_path, "operator", "accounts").stdout
        key_id = re.search(r"key_\w+", made.stderr)
        assert key_id is not None
        assert "Revoked" in daimon(tmp_path, "keys", "revoke", key_id[0]).stdout
        assert "revoked" in daimon(tmp_path, "keys", "list").stdout
        assert "KEY_NOT_FOUND" in daimon(tmp_path, "keys", "revoke", key_id[0], status=1).stderr
        assert "APPROVAL_NOT_FOUND" in daimon(tmp_path, "operator", "approve", "apr_none", status=1).stderr
        assert re.search(r"shown this once: \w+-\w+-\w+-\w+", daimon(tmp_path, "operator", "passcode").stdout)

    if with_server:
        with serving(tmp_path):
            story()
    else:
        story()


def test_what_stands_before_a_command_is_for_the_command(tmp_path: Path) -> None:
    usual, asked, other = (tmp_path / name for name in ("usual", "asked", "other"))
    for folder in (asked, other):
        folder.mkdir()
        (folder / "config.toml").write_text(f'[mail]\ndomain = "{folder.name}.example"\n')
    before = ("--data-dir", str(asked))
    shown = daimon(usual, *before, "config").stdout
    assert f"# data folder: {asked}" in shown
    assert "asked.example" in shown
    # An option of the command's own goes before it.
    assert f"# data folder: {other}" in daimon(usual, *before, "config", "--data-dir", str(other)).stdout
    mixed = daimon(usual, f"--config={other / 'config.toml'}", "config", "--data-dir", str(asked)).stdout
    assert f"# data folder: {asked}" in mixed
    assert "other.example" in mixed
    # A command inside a group, one that makes the folder, and one that finds no server.
    account = re.search(r"acc_\w+", daimon(usual, *before, "keys", "create").stderr)
    assert account is not None
    assert account[0] in daimon(usual, *before, "operator", "accounts").stdout
    assert account[0] not in daimon(usual, *before, "operator", "accounts", "--data-dir", str(other)).stdout
    assert f"data folder {asked} can be written" in daimon(usual, *before, "doctor", status=1).stdout
    assert "No server is running" in daimon(usual, *before, "stop").stdout
    assert not usual.exists()


def test_what_no_command_takes_is_not_ignored(tmp_path: Path) -> None:
    assert "are of the stdio server" in daimon(tmp_path, "--read-only", "serve", status=2).stderr
    assert "are of the stdio server" in daimon(tmp_path, "--profile", "full", "doctor", status=2).stderr
    assert "of its own" in daimon(tmp_path, "--data-dir", str(tmp_path), "demo", status=2).stderr


def test_the_story_of_a_message_that_is_not_there(tmp_path: Path) -> None:
    assert "MESSAGE_NOT_FOUND" in daimon(tmp_path, "explain", "msg_none", status=1).stderr


def test_config_shows_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[relay]\nhost = "smtp.example.org"\nusername = "u"\npassword = "hunter2hunter2"\n'
    )
    shown = daimon(tmp_path, "config").stdout
    assert 'host = "smtp.example.org"' in shown
    assert "hunter2" not in shown
    example = daimon(tmp_path, "config", "--example").stdout
    assert example == (Path(__file__).parents[3] / "config.example.toml").read_text()


def test_a_misspelt_option_is_named_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[smtp]\ninbound_prot = 25\n")
    wrong = daimon(tmp_path, "doctor", status=2).stderr
    assert "inbound_prot" in wrong
    assert "inbound_port" in wrong


def test_doctor_finds_a_used_port_and_a_dead_relay(tmp_path: Path) -> None:
    import socket

    daimon(tmp_path, "operator", "passcode")
    assert "the store is consistent" in daimon(tmp_path, "doctor").stdout
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = daimon(tmp_path, "doctor", status=1, DAIMON_HTTP__PORT=port).stdout
        assert f"BAD  HTTP port 127.0.0.1:{port}" in said
        assert "[http] port" in said
    said = daimon(
        tmp_path, "doctor", status=1, DAIMON_RELAY__HOST="127.0.0.1", DAIMON_RELAY__PORT=port,
        DAIMON_RELAY__SECURITY="none",
    ).stdout  # fmt: skip
    assert "BAD  relay 127.0.0.1" in said


def test_doctor_makes_nothing(tmp_path: Path) -> None:
    said = daimon(tmp_path / "typo", "doctor").stdout
    assert "the first start makes it" in said
    assert not (tmp_path / "typo").exists()


def test_doctor_and_stop_with_a_server_whose_config_is_old(tmp_path: Path) -> None:
    assert "No server is running" in daimon(tmp_path, "stop").stdout
    with serving(tmp_path):
        assert "a server is running" in daimon(tmp_path, "doctor").stdout
        (tmp_path / "config.toml").write_text('[log]\nlevel = "warning"\n')
        assert "before config.toml was last changed" in daimon(tmp_path, "doctor", status=1).stdout
        second = daimon(tmp_path, "serve", status=1).stderr
        assert "or choose another folder with --data-dir" in second
        assert "Stopped (process" in daimon(tmp_path, "stop").stdout
        assert "no server is running" in daimon(tmp_path, "doctor").stdout


def test_the_operator_suspends_and_resumes(tmp_path: Path) -> None:
    key = daimon(tmp_path, "keys", "create").stdout.strip()
    account = re.findall(r"acc_\w+", daimon(tmp_path, "operator", "accounts").stdout)[0]
    assert "is suspended" in daimon(tmp_path, "operator", "suspend", account).stdout
    assert "suspended" in daimon(tmp_path, "operator", "accounts").stdout
    assert "is active" in daimon(tmp_path, "operator", "resume", account).stdout
    assert "There is no such account" in daimon(tmp_path, "operator", "suspend", "acc_none", status=1).stderr
    assert "the tiers are free, starter" in daimon(tmp_path, "operator", "tier", account, "gold", status=1).stderr
    assert key.startswith("dm_")


def test_serve_on_a_used_port_says_which_option_to_set(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("DAIMON_HTTP__PORT", "DAIMON_SMTP__INBOUND_PORT"):
            said = daimon(tmp_path, "serve", status=1, **{option: port}).stderr
            assert f"{port}: Address already in use; choose another with" in said
            assert option in said
            assert "Traceback" not in said

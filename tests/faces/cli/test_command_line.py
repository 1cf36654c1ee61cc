"""The command line, as a person types it, with and without a server running."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx2
import pytest
from tests.faces.cli.kit import command, program, serving

from daimon_mcp import __version__


def test_version_and_help(tmp_path: Path) -> None:
    assert program(tmp_path, "--version").stdout == f"daimon-mcp {__version__}\n"
    assert "operator" in program(tmp_path, "--help").stdout
    assert "No such command" in program(tmp_path, "sreve", status=2).stderr


def test_serve_says_how_to_connect_and_shows_secrets_once(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        base = re.search(r"(http://127\.0\.0\.1:\d+)/mcp", first)
        assert base is not None
        assert httpx2.get(f"{base[1]}/healthz").json()["version"] == __version__
        assert re.search(r"passcode, shown this once: \S+", first)
        key = re.search(r"shown this once: (dm_free_\w+)", first)
        assert key is not None
        listed = command(tmp_path, "keys", "list").stdout
        assert key[1] not in listed
        assert key[1][:12] in listed
    with serving(tmp_path) as second:
        assert "shown this once" not in second
        assert "claude mcp add daimon" in second


@pytest.mark.parametrize("with_server", [True, False])
def test_operator_and_keys_with_and_without_a_server(tmp_path: Path, with_server: bool) -> None:
    run = program if with_server else command

    def story() -> None:
        assert "Nothing waits" in run(tmp_path, "operator", "list").stdout
        made = run(tmp_path, "keys", "create", "--name", "ci")
        assert re.fullmatch(r"dm_free_\w+\n", made.stdout)
        accounts = run(tmp_path, "operator", "accounts").stdout
        account = re.search(r"acc_\w+", accounts)
        assert account is not None
        assert "is on pro" in run(tmp_path, "operator", "tier", account[0], "growth").stdout
        assert "pro" in run(tmp_path, "operator", "accounts").stdout
        key_id = re.search(r"key_\w+", made.stderr)
        assert key_id is not None
        assert "Revoked" in run(tmp_path, "keys", "revoke", key_id[0]).stdout
        assert "revoked" in run(tmp_path, "keys", "list").stdout
        assert "KEY_NOT_FOUND" in run(tmp_path, "keys", "revoke", key_id[0], status=1).stderr
        assert "APPROVAL_NOT_FOUND" in run(tmp_path, "operator", "approve", "apr_none", status=1).stderr
        assert re.search(r"shown this once: \w+-\w+-\w+-\w+", run(tmp_path, "operator", "passcode").stdout)

    if with_server:
        with serving(tmp_path):
            story()
    else:
        story()


def test_a_key_may_do_one_thing_alone(tmp_path: Path) -> None:
    made = command(tmp_path, "keys", "create", "--name", "worker", "--permission", "message_ingest")
    assert made.stdout.startswith("dm_free_")
    assert "account  only message_ingest  worker" in command(tmp_path, "keys", "list").stdout
    wrong = command(tmp_path, "keys", "create", "--permission", "every_inbox", status=1).stderr
    assert "must be some of" in wrong
    assert "message_ingest" in wrong
    wide = command(tmp_path, "keys", "create", "--every-inbox", "--name", "all").stderr
    owner = re.search(r"of account (acc_\w+)", wide)
    assert owner is not None
    listed = command(tmp_path, "keys", "list", "--account", owner[1]).stdout
    assert "account  only every_inbox,message_ingest  all" in listed
    assert "Revoked" in command(tmp_path, "keys", "revoke", listed.split()[0], "--account", owner[1]).stdout
    assert "alone" in command(tmp_path, "keys", "create", "--every-inbox", "--inbox", "a@b.example", status=2).stderr


def test_what_stands_before_a_command_is_for_the_command(tmp_path: Path) -> None:
    usual, asked, other = (tmp_path / name for name in ("usual", "asked", "other"))
    for folder in (asked, other):
        folder.mkdir()
        (folder / "config.toml").write_text(f'[mail]\ndomain = "{folder.name}.example"\n')
    before = ("--data-dir", str(asked))
    shown = command(usual, *before, "config").stdout
    assert f"# data folder: {asked}" in shown
    assert "asked.example" in shown
    # An option of the command's own goes before it.
    assert f"# data folder: {other}" in command(usual, *before, "config", "--data-dir", str(other)).stdout
    mixed = command(usual, f"--config={other / 'config.toml'}", "config", "--data-dir", str(asked)).stdout
    assert f"# data folder: {asked}" in mixed
    assert "other.example" in mixed
    # A command inside a group, one that makes the folder, and one that finds no server.
    account = re.search(r"acc_\w+", command(usual, *before, "keys", "create").stderr)
    assert account is not None
    assert account[0] in command(usual, *before, "operator", "accounts").stdout
    assert account[0] not in command(usual, *before, "operator", "accounts", "--data-dir", str(other)).stdout
    assert f"data folder {asked} can be written" in command(usual, *before, "doctor", status=1).stdout
    assert "No server is running" in command(usual, *before, "stop").stdout
    assert not usual.exists()


def test_what_no_command_takes_is_not_ignored(tmp_path: Path) -> None:
    assert "are of the stdio server" in command(tmp_path, "--read-only", "serve", status=2).stderr
    assert "are of the stdio server" in command(tmp_path, "--profile", "full", "doctor", status=2).stderr
    assert "of its own" in command(tmp_path, "--data-dir", str(tmp_path), "demo", status=2).stderr


def test_the_story_of_a_message_that_is_not_there(tmp_path: Path) -> None:
    assert "MESSAGE_NOT_FOUND" in command(tmp_path, "explain", "msg_none", status=1).stderr


def test_config_shows_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[relay]\nhost = "smtp.example.org"\nusername = "u"\npassword = "hunter2hunter2"\n'
    )
    shown = command(tmp_path, "config").stdout
    assert 'host = "smtp.example.org"' in shown
    assert "hunter2" not in shown
    example = command(tmp_path, "config", "--example").stdout
    assert example == (Path(__file__).parents[3] / "config.example.toml").read_text()


def test_a_misspelt_option_is_named_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[smtp]\ninbound_prot = 25\n")
    wrong = command(tmp_path, "doctor", status=2).stderr
    assert "inbound_prot" in wrong
    assert "inbound_port" in wrong


def test_doctor_finds_a_used_port_and_a_dead_relay(tmp_path: Path) -> None:
    command(tmp_path, "operator", "passcode")
    assert "the store is consistent" in command(tmp_path, "doctor").stdout
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = command(tmp_path, "doctor", status=1, DAIMON_HTTP__PORT=port).stdout
        assert f"BAD  HTTP port 127.0.0.1:{port}" in said
        assert "[http] port" in said
    said = command(
        tmp_path, "doctor", status=1, DAIMON_RELAY__HOST="127.0.0.1", DAIMON_RELAY__PORT=port,
        DAIMON_RELAY__SECURITY="none",
    ).stdout  # fmt: skip
    assert "BAD  relay 127.0.0.1" in said


def test_what_is_set_in_vain_is_said(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for text, words in (
        ('[upstream]\naddress = "me@example.com"\npassword = "hunter2hunter2"\n',
         "[upstream] address and password are ignored: host is not set, and no mail is fetched"),
        ('[relay]\nmode = "sandbox"\nhost = "smtp.example.org"\n',
         '[relay] host is ignored: mode is "sandbox", and no relay is used'),
        ('[relay]\nmode = "direct"\nhost = "smtp.example.org"\nusername = "u"\npassword = "hunter2hunter2"\n',
         '[relay] host, password and username are ignored: mode is "direct", and no relay is used'),
        ('[relay]\nusername = "u"\npassword = "hunter2hunter2"\n',
         "[relay] password and username are ignored: host is not set, and no mail leaves"),
    ):  # fmt: skip
        config.write_text(text)
        said = command(tmp_path, "doctor", status=1, DAIMON_DNS__NAMESERVERS="127.0.0.1:9").stdout
        assert f"BAD  {words}\n     " in said
        assert "hunter2" not in said
    with serving(tmp_path) as printed:
        assert printed
    config.write_text('[upstream]\naddress = "me@example.com"\n')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        failed = program(tmp_path, "serve", status=1, DAIMON_HTTP__PORT=str(taken.getsockname()[1])).stderr
    assert failed.count("[upstream] address is ignored: host is not set") == 1


def test_listeners_that_cannot_be_are_found(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[submission]\nport = 4650\ntls_port = 4650\n")
    ports = ("DAIMON_SUBMISSION__PORT", "DAIMON_SUBMISSION__TLS_PORT")
    said = command(tmp_path, "doctor", status=2, **dict.fromkeys(ports, "")).stderr
    assert "tls_port" in said
    assert "must be another one than port" in said
    socket_path = tmp_path / "no" / "such" / "lmtp.sock"
    (tmp_path / "config.toml").write_text(f'[smtp]\nlmtp_socket = "{socket_path}"\n')
    said = command(tmp_path, "doctor", status=1).stdout
    assert f"BAD  LMTP socket {socket_path}: there is no folder {socket_path.parent}" in said
    assert "set [smtp] lmtp_socket" in said


def test_doctor_makes_nothing(tmp_path: Path) -> None:
    said = command(tmp_path / "typo", "doctor").stdout
    assert "the first start makes it" in said
    assert not (tmp_path / "typo").exists()


def test_doctor_and_stop_with_a_server_whose_config_is_old(tmp_path: Path) -> None:
    assert "No server is running" in command(tmp_path, "stop").stdout
    with serving(tmp_path):
        assert "a server is running" in command(tmp_path, "doctor").stdout
        (tmp_path / "config.toml").write_text('[log]\nlevel = "warning"\n')
        assert "before config.toml was last changed" in command(tmp_path, "doctor", status=1).stdout
        second = program(tmp_path, "serve", status=1).stderr
        assert "or choose another folder with --data-dir" in second
        assert "Stopped (process" in command(tmp_path, "stop").stdout
        assert "no server is running" in command(tmp_path, "doctor").stdout


def test_a_broken_config_does_not_keep_a_server_from_being_stopped(tmp_path: Path) -> None:
    with serving(tmp_path):
        (tmp_path / "config.toml").write_text("[mail\ndomain = 7\n")
        assert "config.toml" in program(tmp_path, "operator", "list", status=2).stderr
        assert "Stopped (process" in program(tmp_path, "stop").stdout
        named = str(tmp_path / "config.toml")
        assert f"data folder {tmp_path}." in program(tmp_path, "stop", "--config", named).stdout


def test_the_operator_suspends_and_resumes(tmp_path: Path) -> None:
    key = command(tmp_path, "keys", "create").stdout.strip()
    account = re.findall(r"acc_\w+", command(tmp_path, "operator", "accounts").stdout)[0]
    assert "is suspended" in command(tmp_path, "operator", "suspend", account).stdout
    assert "suspended" in command(tmp_path, "operator", "accounts").stdout
    assert "is active" in command(tmp_path, "operator", "resume", account).stdout
    assert "There is no such account" in command(tmp_path, "operator", "suspend", "acc_none", status=1).stderr
    assert "the tiers are free, starter" in command(tmp_path, "operator", "tier", account, "gold", status=1).stderr
    assert key.startswith("dm_")


def test_serve_on_a_used_port_says_which_option_to_set(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("DAIMON_HTTP__PORT", "DAIMON_SMTP__INBOUND_PORT"):
            said = program(tmp_path, "serve", status=1, **{option: port}).stderr
            assert f"{port}: Address already in use; choose another with" in said
            assert option in said
            assert "Traceback" not in said

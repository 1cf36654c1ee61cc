"""Settings: where they come from, which wins, and what is said when one is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daimon_mcp.domain.tiers import DEFAULT_LIMITS, Limits, Tier
from daimon_mcp.settings import FLAT_NAMES, Settings, SettingsError, example_toml, load
from daimon_mcp.settings.sources import env_name, walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def read(folder: Path, toml: str = "", environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(toml, encoding="utf-8")
    return load(data_dir=folder, environ=environ or {}, **overrides)


def complaints(folder: Path, toml: str = "", environ: Mapping[str, str] | None = None, **overrides: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(folder, toml, environ, **overrides)
    return str(raised.value).splitlines()


def test_without_anything_the_defaults_stand(folder: Path) -> None:
    settings = load(data_dir=folder, environ={})
    assert settings.config_file is None
    assert settings.data_dir == folder
    assert (settings.http.host, settings.http.port, settings.http.require_key) == ("127.0.0.1", 8370, True)
    assert (settings.relay.host, settings.relay.port, settings.relay.security) == (None, 587, "starttls")
    assert settings.smtp.max_message_bytes == 10_485_760
    assert settings.smtp_hostname == "agents.localhost"
    assert settings.mail_domains == ("agents.localhost",)
    assert settings.tier_limits() == DEFAULT_LIMITS


def test_arguments_win_over_environment_over_file_over_defaults(folder: Path) -> None:
    toml = "[relay]\nport = 1\nmax_connections = 2\ntimeout_seconds = 3\n"
    environ = {"DAIMON_RELAY__PORT": "10", "DAIMON_RELAY__MAX_CONNECTIONS": "20"}
    settings = read(folder, toml, environ, relay={"port": 100})
    assert (settings.relay.port, settings.relay.max_connections, settings.relay.timeout_seconds) == (100, 20, 3)
    assert settings.relay.give_up_hours == 120
    assert settings.config_file == folder / "config.toml"


def test_an_argument_that_is_none_and_a_variable_that_is_empty_were_not_given(folder: Path) -> None:
    settings = read(
        folder, "[http]\nport = 7\n", {"DAIMON_HTTP__PORT": "", "DAIMON_API_KEY": ""}, http={"port": None}, api_key=None
    )
    assert settings.http.port == 7
    assert settings.api_key is None


def test_submission_has_two_ports(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[submission\] tls_port: must be another one than port"):
        read(folder, "[submission]\nport = 587\ntls_port = 587\n")
    for allowed in ("port = 0\ntls_port = 0\n", "enabled = false\nport = 587\ntls_port = 587\n"):
        assert read(folder, f"[submission]\n{allowed}").submission.port in (0, 587)


def test_the_way_out_follows_from_mode_and_host(folder: Path) -> None:
    for text, way in (
        ("", "none"),
        ('host = "smtp.example.org"', "smart_host"),
        ('mode = "direct"', "direct"),
        ('mode = "sandbox"\nhost = "smtp.example.org"', "sandbox"),
    ):
        settings = read(folder, f"[relay]\n{text}\n")
        assert (settings.way_out, settings.mail_leaves) == (way, way != "none")


def test_every_option_can_be_set_in_the_environment(folder: Path) -> None:
    values = {tuple: "one.example, two.example", int: "600", bool: "true", str: "localhost"}
    special = {
        "DAIMON_HTTP__PUBLIC_URL": "https://mail.example.org",
        "DAIMON_HTTP__BOOTSTRAP": "off",
        "DAIMON_SMTP__MAX_MESSAGE_BYTES": "70000",
        "DAIMON_SMTP__TRUSTED_NETWORKS": "127.0.0.1, 10.0.0.0/8",
        "DAIMON_SMTP__DMARC": "label",
        "DAIMON_SMTP__CERTIFICATE": __file__,
        "DAIMON_SMTP__CERTIFICATE_KEY": __file__,
        "DAIMON_SUBMISSION__TLS_PORT": "465",
        "DAIMON_RELAY__MODE": "sandbox",
        "DAIMON_RELAY__CA_FILE": __file__,
        "DAIMON_RELAY__MAX_CONNECTIONS": "60",
        "DAIMON_RELAY__SECURITY": "tls",
        "DAIMON_DNS__NAMESERVERS": "192.0.2.53, [2001:db8::53]:5353",
        "DAIMON_DNS__TIMEOUT_SECONDS": "60",
        "DAIMON_UPSTREAM__SECURITY": "starttls",
        "DAIMON_UPSTREAM__CA_FILE": __file__,
        "DAIMON_UPSTREAM__ADDRESS": "me@example.com",
        "DAIMON_UPSTREAM__OAUTH_COMMAND": "",
        "DAIMON_UPSTREAM__AFTER": "move:Agents",
        "DAIMON_UPSTREAM__TAGS": "help=support, jobs=hiring@example.org",
        "DAIMON_WEBHOOKS__CA_FILE": __file__,
        "DAIMON_WEBHOOKS__TIMEOUT_SECONDS": "60",
        "DAIMON_WEBHOOKS__RETRY_HOURS": "60",
        "DAIMON_OPERATOR__PROMPTS_DIR": str(Path(__file__).parent),
        "DAIMON_OPERATOR__LINK_DAYS": "60",
        "DAIMON_OPERATOR__SECRETS": "masked",
        "DAIMON_GUARD__MODE": "report",
        "DAIMON_MCP__PROFILE": "full",
        "DAIMON_LOG__LEVEL": "debug",
        "DAIMON_LOG__FORMAT": "json",
    }
    environ: dict[str, str] = {}
    for loc, option in walk(Settings):
        if len(loc) > 1:
            kind = next((kind for kind in values if kind.__name__ in str(option.annotation)), str)
            environ[env_name(loc)] = special.get(env_name(loc), values[kind])
    assert len(environ) > 60
    settings = load(data_dir=folder, environ=environ)
    assert settings.mcp.tools == ("one.example", "two.example")
    assert settings.relay.password is not None
    assert settings.relay.password.get_secret_value() == "localhost"
    assert settings.limits.pro.sends_per_day == 600
    assert settings.relay.ca_file == Path(__file__)
    assert settings.log.wire is True


def test_flat_names_and_the_long_name_wins(folder: Path) -> None:
    environ = {
        "DAIMON_DATA_DIR": str(folder),
        "DAIMON_API_KEY": "dm_free_abc",
        "DAIMON_PROFILE": "full",
        "DAIMON_READ_ONLY": "1",
        "DAIMON_MCP__READ_ONLY": "0",
    }
    settings = load(environ=environ)
    assert settings.data_dir == folder
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "dm_free_abc"
    assert settings.mcp.profile == "full"
    assert settings.mcp.read_only is False
    assert set(FLAT_NAMES) >= set(environ) - {"DAIMON_MCP__READ_ONLY"}


def test_the_file_is_the_one_that_is_named(folder: Path, tmp_path: Path) -> None:
    read(folder, "[http]\nport = 1\n")
    second, third = tmp_path / "second.toml", tmp_path / "third.toml"
    second.write_text("[http]\nport = 2\n")
    third.write_text("[http]\nport = 3\n")
    environ = {"DAIMON_CONFIG": str(second)}
    assert load(data_dir=folder, environ={}).http.port == 1
    assert load(data_dir=folder, environ=environ).http.port == 2
    assert load(data_dir=folder, environ=environ, config=third).http.port == 3


def test_a_named_file_must_be_there_and_be_toml(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: cannot be read: No such file"):
        load(data_dir=folder, environ={"DAIMON_CONFIG": str(tmp_path / "missing.toml")})
    folder.mkdir()
    with pytest.raises(SettingsError, match=r"data: cannot be read: Is a directory"):
        load(data_dir=folder, environ={}, config=folder)
    assert re.search(r"config\.toml: is not TOML: .*line 1", complaints(folder, "port ?\n")[0])
    (folder / "config.toml").write_bytes(b"# \xff\n")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(data_dir=folder, environ={})


def test_relative_paths_start_at_the_file(folder: Path) -> None:
    (folder / "texts").mkdir(parents=True)
    (folder / "ca.pem").touch()
    settings = read(folder, '[operator]\nprompts_dir = "texts"\n[relay]\nca_file = "ca.pem"\n')
    assert settings.operator.prompts_dir == folder / "texts"
    assert settings.relay.ca_file == folder / "ca.pem"


# ── what is said


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[relay]\nport = 99999\n", "config.toml: [relay] port: must be between 0 and 65535 (for example 587)"),
        (
            '[relay]\nport = "many"\n',
            "config.toml: [relay] port: must be a whole number between 0 and 65535 (for example 587)",
        ),
        (
            "[owner]\nidle_minutes = true\n",
            "config.toml: [owner] idle_minutes: must be a whole number between 0 and 10080 (for example 10)",
        ),
        ("[relay]\nprot = 1\n", "config.toml: [relay] prot: is not an option; did you mean port?"),
        ("[rely]\nport = 1\n", "config.toml: [rely]: is not a section; did you mean [relay]?"),
        ("[limits.fre]\nsmtp = true\n", "config.toml: [limits.fre]: is not a section; did you mean [limits.free]?"),
        ("[limits.pro]\nsmpt = 1\n", "config.toml: [limits.pro] smpt: is not an option; did you mean smtp?"),
        ("[log]\nxyz = 1\n", "config.toml: [log] xyz: is not an option; there are level, format, wire"),
        ("relay = 5\n", "config.toml: relay: is a section; write [relay] on a line of its own"),
        ('data_dir = "x"\n', "config.toml: data_dir: cannot be set here; use DAIMON_DATA_DIR"),
        (
            '[relay]\nsecurity = "ssl"\n',
            'config.toml: [relay] security: must be one of "starttls", "tls", "none" (for example "starttls")',
        ),
        ('[log]\nwire = "maybe"\n', "config.toml: [log] wire: must be true or false (for example false)"),
        (
            "[mcp]\ntools = 5\n",
            'config.toml: [mcp] tools: must be a list of texts (for example ["list_messages", "get_message"])',
        ),
        ("[relay]\nusername = 5\n", 'config.toml: [relay] username: must be text in quotes (for example "agents")'),
        (
            '[relay]\nca_file = "none.pem"\n',
            'config.toml: [relay] ca_file: must be a file that exists (for example "relay-ca.pem")',
        ),
        (
            '[operator]\nprompts_dir = "none"\n',
            'config.toml: [operator] prompts_dir: must be a folder that exists (for example "prompts")',
        ),
        (
            "[limits.free]\nsends_per_day = -2\n",
            "config.toml: [limits.free] sends_per_day: must be -1 or more (for example 100)",
        ),
        (
            '[mail]\ndomains = ["good.example", "no good"]\n',
            "config.toml: [mail] domains: must be a domain name in ASCII, with xn-- labels for other scripts "
            '(for example ["example.net"])',
        ),
        (
            '[relay]\nhost = "smtps://mail.example"\n',
            "config.toml: [relay] host: must be an IP address or a host name, without scheme or port "
            '(for example "smtp.example.org")',
        ),
        (
            '[http]\npublic_url = "mail.example"\n',
            "config.toml: [http] public_url: must be an http or https URL without user name, query or fragment "
            '(for example "https://mail.example.org")',
        ),
    ],
)
def test_a_wrong_option_in_the_file_gets_one_clear_line(folder: Path, toml: str, said: str) -> None:
    assert complaints(folder, toml) == [said]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DAIMON_RELAY__PORT", "70000", "DAIMON_RELAY__PORT: must be between 0 and 65535 (for example 587)"),
        ("DAIMON_RELAY__PROT", "25", "DAIMON_RELAY__PROT: is not an option; did you mean DAIMON_RELAY__PORT?"),
        ("DAIMON_RELY__PORT", "25", "DAIMON_RELY__PORT: is not an option; did you mean DAIMON_RELAY__PORT?"),
        ("DAIMON_RELAY_PORT", "25", "DAIMON_RELAY_PORT: is not an option; did you mean DAIMON_RELAY__PORT?"),
        ("DAIMON_DATADIR", "/x", "DAIMON_DATADIR: is not an option; did you mean DAIMON_DATA_DIR?"),
        ("DAIMON_XYZ__XYZ", "1", "DAIMON_XYZ__XYZ: is not an option; config.example.toml lists them all"),
        ("DAIMON_PROFILE", "big", 'DAIMON_PROFILE: must be one of "core", "full" (for example "core")'),
    ],
)
def test_a_wrong_variable_gets_one_clear_line(folder: Path, name: str, value: str, said: str) -> None:
    assert complaints(folder, environ={name: value}) == [said]


def test_names_that_other_programs_make_are_left_alone(folder: Path) -> None:
    others = {"DAIMON_HTTP_PORT": "tcp://10.0.0.1:80", "DAIMON_MCP_SERVICE_HOST": "10.0.0.1", "DAEMON_RELAY__X": "1"}
    assert read(folder, environ=others).http.port == 8370


def test_an_unknown_argument_is_refused(folder: Path) -> None:
    assert complaints(folder, relay={"prot": 1}) == ["relay.prot: is not an option"]


def test_all_problems_are_told_at_once_and_no_value_is(folder: Path) -> None:
    said = complaints(
        folder,
        '[relay]\npassword = ["hunter2"]\nprot = "hunter2"\nhost = "hunter2!"\n[log]\nlevel = "hunter2"\n',
        {"DAIMON_HTTP__PORT": "hunter2", "DAIMON_RELAY__PASS": "hunter2"},
    )
    assert len(said) == 6
    assert "hunter2" not in "\n".join(said)


def test_passwords_are_not_in_the_representation(folder: Path) -> None:
    settings = read(
        folder, '[relay]\nusername = "u"\npassword = "hunter2"\n', {"DAIMON_API_KEY": "dm_live_hunter2hunter2"}
    )
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()


def test_settings_and_sections_are_frozen(folder: Path) -> None:
    settings = load(data_dir=folder, environ={})
    for node, name, value in ((settings, "http", None), (settings.http, "port", 1)):
        with pytest.raises(ValueError, match="frozen"):
            setattr(node, name, value)


# ── options that depend on each other


def test_keys_may_be_left_out_on_loopback_only(folder: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert read(folder, http={"host": host, "require_key": False}).http.require_key is False
    for host in ("0.0.0.0", "::", "192.0.2.1", "mail.example.org"):
        [said] = complaints(folder, http={"host": host, "require_key": False})
        assert said.startswith("[http] require_key: must be true while host is not a loopback address, because")


def test_mail_may_be_taken_on_every_interface(folder: Path) -> None:
    assert read(folder, smtp={"inbound_host": "0.0.0.0"}).smtp.inbound_host == "0.0.0.0"


def test_a_login_is_whole_and_never_in_the_clear(folder: Path) -> None:
    assert complaints(folder, relay={"username": "u"}) == ["[relay] password: must be set too when username is"]
    assert complaints(folder, relay={"password": "p"}) == ["[relay] username: must be set too when password is"]
    login = {"username": "u", "password": "p", "security": "none"}
    [said] = complaints(folder, relay={**login, "host": "smtp.example.org"})
    assert said.startswith('[relay] security: must be "starttls" or "tls" while a password is set')
    assert read(folder, relay={**login, "host": "127.0.0.1"}).relay.username == "u"


# ── what is derived


def test_domains_and_hosts_are_lower_cased_and_told_apart(folder: Path) -> None:
    settings = read(
        folder,
        mail={"domain": "Agents.Example.ORG.", "domains": ["B.example", "agents.example.org", "b.example"]},
        smtp={"hostname": "MX.Example.org"},
        relay={"host": "SMTP.Example.org"},
    )
    assert settings.mail_domains == ("agents.example.org", "b.example")
    assert settings.smtp_hostname == "mx.example.org"
    assert settings.relay.host == "smtp.example.org"


@pytest.mark.parametrize(
    "domain", ["", "a..b", "-a.example", "a_b.example", "192.0.2.1", "bücher.example", "x" * 64 + ".example", "a b"]
)
def test_what_is_no_domain_is_refused(folder: Path, domain: str) -> None:
    assert len(complaints(folder, mail={"domain": domain})) == 1


def test_name_servers_are_addresses_with_or_without_a_port(folder: Path) -> None:
    given = ["192.0.2.53", "192.0.2.53:5353", "2001:DB8::53", "[2001:db8::53]:53"]
    assert read(folder, dns={"nameservers": given}).dns.nameservers == (
        "192.0.2.53",
        "192.0.2.53:5353",
        "2001:db8::53",
        "[2001:db8::53]:53",
    )


@pytest.mark.parametrize("server", ["ns.example.org", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:", "[::1", ""])
def test_what_is_no_name_server_is_refused(folder: Path, server: str) -> None:
    [said] = complaints(folder, dns={"nameservers": [server]})
    assert said.startswith("dns.nameservers: must be an IP address, or one with :port (IPv6 then in brackets)")


@pytest.mark.parametrize(
    ("http", "link", "hosts"),
    [
        ({}, "http://127.0.0.1:9", []),
        ({"host": "::1"}, "http://[::1]:9", []),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:9", []),
        ({"host": "::"}, "http://[::1]:9", []),
        ({"host": "192.0.2.7"}, "http://192.0.2.7:9", ["192.0.2.7"]),
        ({"public_url": "https://Mail.Example.org/"}, "https://Mail.Example.org", ["mail.example.org"]),
        ({"public_url": "https://m.example:8443/d/"}, "https://m.example:8443/d", ["m.example"]),
    ],
)
def test_links_and_host_names(folder: Path, http: dict[str, str], link: str, hosts: list[str]) -> None:
    settings = read(folder, http=http)
    assert settings.public_url(9) == link
    assert settings.allowed_hosts == ("127.0.0.1", "localhost", "[::1]", *hosts)


def test_allowed_hosts_can_be_named(folder: Path) -> None:
    assert read(folder, '[http]\nallowed_hosts = ["a.example"]\n').allowed_hosts == ("a.example",)


def test_limits_can_be_changed_one_by_one(folder: Path) -> None:
    toml = "[limits.starter]\nsends_per_day = 7\nsends_per_month = -1\ndomains = -1\n"
    limits = read(folder, toml, {"DAIMON_LIMITS__FREE__SMTP": "yes"}).tier_limits()
    assert limits[Tier.STARTER] == Limits(None, 7, 10, True, 5, None, None)
    assert limits[Tier.FREE] == Limits(0, 0, None, True, 0, 10, 0)
    assert limits[Tier.PRO] == DEFAULT_LIMITS[Tier.PRO]


# ── the example file


def test_the_example_says_the_defaults(folder: Path) -> None:
    """Every option with a default taken out of its comment gives the configuration that no file gives."""
    stated = re.sub(r"^#(?=\w+ = )", "", example_toml(), flags=re.MULTILINE)
    unset = {match[1] for match in re.finditer(r"Default: not set\. Environment: (\S+)", example_toml())}
    values = tomllib.loads(stated)
    for loc, _ in walk(Settings):
        if env_name(loc) in unset:
            node = values
            for key in loc[:-1]:
                node = node[key]
            del node[loc[-1]]
    settings = load(data_dir=folder, environ={}, **values)
    assert settings == load(data_dir=folder, environ={})


def test_the_example_has_every_option_and_is_accepted_as_it_is(folder: Path) -> None:
    for loc, _ in walk(Settings):
        if len(loc) > 1:
            assert f" Environment: {env_name(loc)}\n#{loc[-1]} = " in example_toml()
    assert read(folder, example_toml()).http == load(data_dir=folder / "none", environ={}).http


def test_every_option_is_described() -> None:
    assert [loc for loc, option in walk(Settings) if not option.description] == []


def test_reading_settings_is_cheap() -> None:
    heavy = ["mcp", "sqlmodel", "sqlalchemy", "aiosmtpd", "aiosmtplib", "starlette", "typer", "rich", "email_validator"]
    program = f"import sys, daimon_mcp.settings; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


UPSTREAM = {"host": "imap.example.com", "address": "me@example.com", "password": "secret"}


def test_a_mailbox_elsewhere_needs_three_options(folder: Path) -> None:
    upstream = read(folder, upstream=UPSTREAM).upstream
    assert (upstream.port, upstream.security, upstream.mailbox, upstream.after) == (993, "tls", "INBOX", "keep")
    assert (upstream.backlog, upstream.tags, upstream.catch_all, upstream.default_inbox) == (False, (), None, None)
    assert "secret" not in repr(upstream)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"address": None}, "[upstream] address: must be set too when host is"),
        ({"password": None}, "[upstream] password: either it or oauth_command must be set"),
        ({"oauth_command": "token"}, "[upstream] password: either it or oauth_command must be set"),
        ({"security": "none"}, '[upstream] security: must be "tls" or "starttls" while host is not a loopback'),
        ({"address": "me"}, "[upstream] address: must be an email address"),
        ({"after": "burn"}, '[upstream] after: must be "keep", "seen", "delete" or "move:FOLDER"'),
        ({"after": "move:"}, '[upstream] after: must be "keep", "seen", "delete" or "move:FOLDER"'),
        ({"after": "move:a\r\nb"}, '[upstream] after: must be "keep", "seen", "delete" or "move:FOLDER"'),
        ({"mailbox": " "}, "[upstream] mailbox: must be the name of a folder"),
        ({"tags": ["help"]}, "[upstream] tags: must be tags with their inboxes, as in tag=inbox"),
        ({"tags": ["help=a b"]}, "[upstream] tags: must be the address of an inbox, or the part of it before the @"),
        ({"default_inbox": "a@b@c"}, "[upstream] default_inbox: must be"),
        ({"catch_all": "example_com"}, "[upstream] catch_all: must be a domain name"),
        ({"poll_seconds": 1}, "[upstream] poll_seconds: must be between 10 and 86400"),
    ],
)
def test_a_mailbox_elsewhere_that_cannot_work_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    [complaint] = complaints(folder, upstream={**UPSTREAM, **changes})
    assert complaint.replace("upstream.", "[upstream] ", 1).startswith(said)


def test_a_mailbox_elsewhere_on_this_machine_may_be_unprotected_and_names_are_lowered(folder: Path) -> None:
    changes = {"host": "127.0.0.1", "security": "none", "after": "MOVE: Agents", "tags": ["Help=Support"]}
    upstream = read(
        folder, upstream={**UPSTREAM, **changes, "address": "Me@Example.com", "default_inbox": "Robo"}
    ).upstream
    assert (upstream.after, upstream.tags, upstream.address) == ("move:Agents", ("help=support",), "me@example.com")
    assert upstream.default_inbox == "robo"

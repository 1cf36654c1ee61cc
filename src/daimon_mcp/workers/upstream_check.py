"""Whether a mailbox elsewhere can be read, for `doctor`."""

from __future__ import annotations

from typing import NamedTuple

from daimon_mcp.workers.imap import connected
from daimon_mcp.workers.imap_wire import CommandFailed, ConnectionLost, ImapError, LoginFailed
from daimon_mcp.workers.oauth import NoToken
from daimon_mcp.workers.upstream import Mailbox, log_in


class Checked(NamedTuple):
    """What `check_upstream` found: whether it is well, what was looked at, and what to do."""

    ok: bool
    what: str
    advice: str = ""


async def check_upstream(mailbox: Mailbox) -> Checked:
    """Connect, log in and look into the folder, which changes nothing. For `doctor`; never raises."""
    server = mailbox.server
    where = f"upstream mailbox {mailbox.username} at {server.host}:{server.port}"
    try:
        async with connected(server) as imap:
            await log_in(imap, mailbox)
            try:
                await imap.select(mailbox.folder, read_only=True)
            except CommandFailed as error:
                advice = "Set [upstream] mailbox to a folder that is there; INBOX always is."
                return Checked(False, f"{where}: folder {mailbox.folder}: {error.text}", advice)
            tells = "and tells of new mail" if "IDLE" in imap.capabilities else "and is asked for new mail"
            await imap.log_out()
        return Checked(True, f"{where} lets us in {tells}")
    except NoToken as error:
        return Checked(False, f"{where}: {error}", "Run [upstream] oauth_command by hand: it must print a token.")
    except LoginFailed as error:
        advice = "Check [upstream] username and password; Gmail and others want an app password or oauth_command."
        return Checked(False, f"{where}: {error}", advice)
    except ConnectionLost as error:
        return Checked(False, f"{where}: {error}", "Check [upstream] host, port and security, and the network.")
    except ImapError as error:
        return Checked(False, f"{where}: {error}", "Check [upstream] security and ca_file.")

"""What the operator decides for the whole server: [operator], [attachments], [owner] and [log]."""

from typing import Literal

from daimon_mcp.settings.kinds import AnyFolder, ExistingFolder, Whole
from daimon_mcp.settings.section import Section, option


class Operator(Section):
    """What the operator decides."""

    prompts_dir: ExistingFolder | None = option(
        None,
        "Folder with texts that replace ours, laid out like prompts/. A relative path starts at the folder of this "
        "file.",
        example="prompts",
    )
    link_days: Whole = option(7, "How long an upgrade link can be used.", unit="days", ge=1, le=365, example=7)
    duplicate_window_minutes: Whole = option(
        10,
        "How long the same content to the same recipients counts as a duplicate when no client_id is given; 0 never.",
        unit="minutes",
        ge=0,
        le=1440,
        example=10,
    )
    idempotency_hours: Whole = option(
        24, "How long, at least, a client_id is remembered.", unit="hours", ge=24, le=8760, example=24
    )
    secrets: Literal["shown", "masked"] = option(
        "shown",
        'Whether tools show SMTP passwords to agents; "masked" leaves them to the command line.',
        example="masked",
    )


class Attachments(Section):
    """Files in mail: the text that is read out of them, and the folder they are saved to."""

    read_text: bool = option(
        True,
        "Read the text out of PDF, Office, HTML and other files, in a process of its own, so that agents can read and "
        "find it.",
        example=True,
    )
    folder: AnyFolder | None = option(
        None,
        "Folder that agents may save attachments to and take files from, and no other. Not set: files in the data "
        "folder. A relative path starts at the folder of this file.",
        example="/srv/agents/files",
    )
    folder_max_bytes: Whole = option(
        1_073_741_824,
        "How much one account may have in that folder before nothing more is saved for it.",
        unit="bytes",
        ge=0,
        example=1_073_741_824,
    )


class Guard(Section):
    """The look at mail before it leaves, for what should not."""

    mode: Literal["hold", "report", "off"] = option(
        "hold",
        "What becomes of mail with credentials, private keys or card numbers in it: hold it for your approval, report "
        "what was found and send it, or do not look.",
        example="report",
    )


class Owner(Section):
    """The process that owns the data folder."""

    idle_minutes: Whole = option(
        10, "How long it stays when nothing needs it any more.", unit="minutes", ge=0, le=10_080, example=10
    )


class Log(Section):
    """Logging, always to standard error."""

    level: Literal["debug", "info", "warning", "error"] = option("info", "Least level to log.", example="info")
    format: Literal["text", "json"] = option("text", "key=value text, or one JSON object a line.", example="text")
    wire: bool = option(False, "Log SMTP conversations line by line, without secrets.", example=False)

"""Every permission that a verb asks for is one that a key can be given."""

from __future__ import annotations

import re
from pathlib import Path

import daimon_mcp.operations
from daimon_mcp.operations.credentials import PERMISSIONS


def test_what_verbs_ask_for_can_be_given() -> None:
    folder = Path(daimon_mcp.operations.__file__).parent
    asked = {
        name
        for file in folder.glob("*.py")
        for name in re.findall(r'\.(?:require|holds)\("(\w+)"\)', file.read_text(encoding="utf-8"))
    }
    assert {"message_delete", "list_read", "list_write"} <= asked
    assert asked <= PERMISSIONS

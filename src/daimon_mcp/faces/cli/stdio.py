"""`daimon-mcp --alone`: the stdio server in this very process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def alone(options: Mapping[str, str]) -> int:
    """Serve one session on stdin and stdout; the exit code. Trouble is said on stderr."""
    from daimon_mcp.domain.refusals import Refused
    from daimon_mcp.runner import STARTUP_ERRORS, BusyFolder, configured, run_alone
    from daimon_mcp.settings import load

    try:
        settings = load(
            config=Path(options["config"]) if "config" in options else None,
            data_dir=Path(options["data_dir"]) if "data_dir" in options else None,
            mcp={"profile": options.get("profile"), "read_only": True if "read_only" in options else None},
        )
        configured(settings)
        run_alone(settings, api_key=os.environ.get("DAIMON_API_KEY") or None)
    except (*STARTUP_ERRORS, BusyFolder, ValueError) as error:
        sys.stderr.write(f"daimon-mcp: {error}\n")
        return 1
    except Refused:
        sys.stderr.write("daimon-mcp: DAIMON_API_KEY is not a valid key of this server\n")
        return 3
    return 0

"""A bridge to one of the toy owners: `toy_bridge.py DATA OWNER_SCRIPT [API_KEY]`."""

from __future__ import annotations

import sys

from daimon_mcp import shim


def main() -> int:
    data_dir, script = sys.argv[1:3]
    hello = {
        "version": "0",
        "api_key": sys.argv[3] if len(sys.argv) > 3 else None,
        "profile": None,
        "read_only": False,
    }
    return shim.run(data_dir, hello, [sys.executable, script, data_dir])


if __name__ == "__main__":
    sys.exit(main())

"""The owner as a bridge starts it: `python -m daimon_mcp.owner_main DATA_DIR`, detached, with its output in owner.log.

The lock is taken before anything dear is imported: of eight started at once, seven leave at once.
"""

from __future__ import annotations

import sys


def main(data_dir: str) -> int:
    """Become the owner of `data_dir`, or leave if there is one; the exit code."""
    from daimon_mcp import owner

    held = owner.lock(data_dir, "auto")
    if held is None:
        return 0
    listener = owner.bind_socket(data_dir)
    # What is imported once is never freed: collecting while importing costs a tenth of the start. `run_loop` ends this.
    import gc

    gc.disable()
    from daimon_mcp.runner import run_owner

    try:
        return run_owner(data_dir, listener)
    finally:
        listener.close()
        held.release()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

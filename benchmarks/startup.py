"""From process start to the answers a client begins with: `initialize`, `tools/list`, and a first call.

`python -m benchmarks.startup [--quick]`
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import BARE, Server, daimon_command, end_owner, environment, owned, warm_bytecode
from benchmarks.report import Report, progress

JS_PACKAGE = "@modelcontextprotocol/server@2.4.0"


@dataclass
class Times:
    """Seconds, one value for each round."""

    initialize: list[float] = field(default_factory=list[float])
    tools: list[float] = field(default_factory=list[float])
    first_call: list[float] = field(default_factory=list[float])

    def measure(self, command: Sequence[str], environ: Mapping[str, str], tool: str) -> None:
        """One start."""
        with Server(command, environ) as server:
            server.initialize()
            self.initialize.append(server.elapsed())
            server.request("tools/list")
            self.tools.append(server.elapsed())
            server.call(tool)
            self.first_call.append(server.elapsed())

    def report(self, report: Report, name: str, tool: str) -> None:
        """Three lines."""
        report.times(f"{name}: initialize", self.initialize)
        report.times(f"{name}: tools/list", self.tools)
        report.times(f"{name}: first call ({tool})", self.first_call)


def javascript_server() -> list[str] | str:
    """The command of the JavaScript SDK's bare server, installed once in the system's temporary folder; or why not."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "no npm"
    folder = Path(tempfile.gettempdir()) / "daimon-benchmarks-js"
    folder.mkdir(exist_ok=True)
    if not (folder / "node_modules").is_dir():
        progress(f"installing {JS_PACKAGE}")
        done = subprocess.run(
            [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", JS_PACKAGE],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            return "npm could not install it"
    script = folder / "bare_server.mjs"
    shutil.copyfile(Path(__file__).with_name("bare_server.mjs"), script)
    return [node, str(script)]


def main(*, quick: bool = False) -> None:
    """Run and report."""
    rounds = 5 if quick else 15
    warm_bytecode()
    javascript = javascript_server()
    bare, warm, cold, new, node = Times(), Times(), Times(), Times(), Times()
    daimon = daimon_command()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as base,
        owned(Path(base, "warm")) as warm_folder,
        owned(Path(base, "cold")) as cold_folder,
        Server(daimon, environment(warm_folder)) as keeper,  # for as long as it lives, so does the owner
    ):
        keeper.initialize()
        keeper.call("list_inboxes")
        for number in range(-1, rounds):
            if number == 0:  # what came before was to fill caches: the page cache's and the bytecode's
                bare, warm, cold, new, node = Times(), Times(), Times(), Times(), Times()
            progress(f"round {number + 1} of {rounds}")
            bare.measure(BARE, environment(), "empty")
            warm.measure(daimon, environment(warm_folder), "list_inboxes")
            cold.measure(daimon, environment(cold_folder), "list_inboxes")
            end_owner(cold_folder)
            if not isinstance(javascript, str):
                node.measure(javascript, environment(), "empty")
            with owned(Path(base, f"new-{number + 1}")) as new_folder:
                new.measure(daimon, environment(new_folder), "list_inboxes")

    report = Report(f"Start-up: from process start to each answer, {rounds} rounds")
    bare.report(report, "bare SDK server (floor)", "empty")
    warm.report(report, "daimon-mcp, owner running", "list_inboxes")
    cold.report(report, "daimon-mcp, no owner running", "list_inboxes")
    report.times("daimon-mcp, new data folder: initialize", new.initialize)
    if isinstance(javascript, str):
        report.note(f"bare server of the JavaScript SDK: not measured: {javascript}")
    else:
        node.report(report, "bare server of the JavaScript SDK", "empty")
    report.at_most("initialize, owner running / bare SDK server", warm.initialize, bare.initialize, 0.35)
    report.at_most("initialize, no owner running / bare SDK server", cold.initialize, bare.initialize, 1.6)
    for name, times in (("owner running", warm), ("no owner running", cold)):
        report.after(f"from initialize to the first call, {name}", times.initialize, times.first_call, 10.0)
    if not isinstance(javascript, str):
        report.at_most("initialize, owner running / JavaScript SDK", warm.initialize, node.initialize, 1.0)


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])

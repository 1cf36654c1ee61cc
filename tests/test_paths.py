"""Where the data folder is."""

from __future__ import annotations

import os
import subprocess
import sys

from daimon_mcp.paths import data_dir, default_data_dir


def test_the_default_follows_the_platform() -> None:
    home = {"HOME": "/home/ada"}
    assert default_data_dir(home, "linux") == "/home/ada/.local/share/daimon-mcp"
    assert default_data_dir({**home, "XDG_DATA_HOME": "/data"}, "linux") == "/data/daimon-mcp"
    assert default_data_dir({**home, "XDG_DATA_HOME": "data"}, "linux") == "/home/ada/.local/share/daimon-mcp"
    assert default_data_dir(home, "darwin") == "/home/ada/Library/Application Support/daimon-mcp"


def test_the_argument_wins_over_the_environment_over_the_default() -> None:
    environ = {"HOME": "/home/ada", "DAIMON_DATA_DIR": "/srv/mail"}
    assert data_dir(environ, "/tmp/given") == "/tmp/given"
    assert data_dir(environ) == "/srv/mail"
    assert data_dir({"HOME": "/home/ada"}) == default_data_dir({"HOME": "/home/ada"})


def test_the_folder_is_absolute() -> None:
    assert data_dir({}, "here") == os.path.join(os.getcwd(), "here")
    assert data_dir({"DAIMON_DATA_DIR": "~/mail"}) == os.path.expanduser("~/mail")


def test_finding_it_takes_the_standard_library_alone() -> None:
    program = (
        "import sys; before = set(sys.modules); import daimon_mcp.paths; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['daimon_mcp']"

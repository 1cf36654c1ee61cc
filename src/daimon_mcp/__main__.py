"""`daimon-mcp`: without a command, the stdio bridge, which imports next to nothing; with one, the command line."""

from __future__ import annotations

import os
import sys

# Options of the stdio server: with a value, or without one.
_VALUES = {"--data-dir": "data_dir", "--config": "config", "--profile": "profile"}
_FLAGS = {"--read-only": "read_only", "--alone": "alone"}


def _stdio_options(arguments: list[str]) -> dict[str, str] | None:
    """The options of the stdio server, or None when this is something for the command line."""
    found: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in _VALUES:
            given = value if equals else next(rest, None)
            if given is None:
                return None
            found[_VALUES[name]] = given
        elif argument in _FLAGS:
            found[_FLAGS[argument]] = "1"
        else:
            return None
    return found


def main() -> None:
    """The console script."""
    options = _stdio_options(sys.argv[1:])
    if options is None:
        from daimon_mcp.faces.cli import app

        app()
    elif "alone" in options or sys.platform == "win32":
        from daimon_mcp.faces.cli.stdio import alone

        sys.exit(alone(options))
    else:
        if sys.stdin.isatty():
            sys.stderr.write(
                "daimon-mcp: this speaks MCP on standard input; an MCP client starts it. "
                "For people: daimon-mcp serve, daimon-mcp demo, daimon-mcp --help\n"
            )
        sys.exit(_bridge(options))


def _bridge(options: dict[str, str]) -> int:
    from daimon_mcp import __version__, paths, shim

    environ = os.environ
    if "config" in options:  # the owner reads it, if it is this bridge that starts it
        environ["DAIMON_CONFIG"] = os.path.abspath(options["config"])
    data_dir = paths.data_dir(environ, options.get("data_dir"))
    narrowed = environ.get("DAIMON_READ_ONLY", "").lower() in ("1", "true", "yes", "on")
    hello = {
        "version": __version__,
        "api_key": environ.get("DAIMON_API_KEY") or None,
        "profile": options.get("profile") or environ.get("DAIMON_PROFILE") or None,
        "read_only": "read_only" in options or narrowed,
    }
    return shim.run(data_dir, hello, [sys.executable, "-m", "daimon_mcp.owner_main", data_dir])


if __name__ == "__main__":
    main()

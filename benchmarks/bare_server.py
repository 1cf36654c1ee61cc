"""The floor of start-up and calls: the SDK's server with one empty tool, run as the SDK runs it."""

from mcp.server import MCPServer

server = MCPServer("bare", log_level="WARNING")


@server.tool()
def empty() -> dict[str, str]:
    """Do nothing."""
    return {}


if __name__ == "__main__":
    server.run()

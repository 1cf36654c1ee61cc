"""A mail server for AI agents that speaks MCP."""

__version__ = "0.1.0"

"""What is new in a reply, apart from what it quotes, its signature, and what it forwards."""

from daimon_mcp.mail.replies.extract import extract_reply
from daimon_mcp.mail.replies.forwards import Forwarded
from daimon_mcp.mail.replies.reply import Reply
from daimon_mcp.mail.replies.rows import lines_of

__all__ = ["Forwarded", "Reply", "extract_reply", "lines_of"]

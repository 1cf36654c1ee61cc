"""Files as they are answered."""

from __future__ import annotations

from typing import Literal

from daimon_mcp.faces.rest.shapes.base import Shape, Time, absent
from daimon_mcp.faces.rest.shapes.messages import TextStatus


class FileToRead(Shape):
    """A file: what it is, a window of its text, and for a while a link to it."""

    id: str
    message_id: str | None
    filename: str
    content_type: str
    size: int
    sha256: str | None
    disposition: str
    text_status: TextStatus | Literal["none"]
    extracted_text: str | None
    est_tokens: int
    truncated: bool
    next_offset: int | None
    incomplete: bool
    facts: dict[str, int | str]
    untrusted: bool
    url: str = absent("Fetches it without a key")
    expires_at: Time = absent("When that ends")


class FileToSend(Shape):
    """A file to send: where its bytes are to be put, or what came of one that is here already."""

    id: str
    filename: str
    content_type: str | None
    expires_at: Time
    upload_url: str = absent()
    method: Literal["PUT"] = absent()
    max_bytes: int = absent()
    size: int = absent()
    sha256: str = absent()

"""Conversations with the inbound listener, kept as text in tests/transcripts/smtp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.faces.smtp.server import serving
from tests.support.transcript import play, read

from daimon_mcp.faces.smtp.service import Limits

FILES = sorted((Path(__file__).parents[2] / "transcripts" / "smtp").glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_the_conversation_goes_as_written(file: Path) -> None:
    transcript = read(file)
    limits = {name: json.loads(value) for name, value in transcript.facts.items() if name != "stores"}
    async with serving(Limits(**limits)) as inbound:
        await play(transcript, inbound.host, inbound.port)
        assert len(inbound.core.messages) == int(transcript.facts["stores"])


def test_there_are_conversations() -> None:
    assert len(FILES) > 15

"""Conversations with the STARTTLS port of submission, kept as text in tests/transcripts/submission."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faces.smtp.mailroom import mailroom
from tests.support.transcript import play, read

FILES = sorted((Path(__file__).parents[2] / "transcripts" / "submission").glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_the_conversation_goes_as_written(file: Path, tmp_path: Path) -> None:
    async with mailroom(tmp_path / "data") as room:
        await play(read(file), *room.daimon.submission)


def test_there_are_conversations() -> None:
    assert len(FILES) >= 3

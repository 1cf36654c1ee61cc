"""A large message whose file is gone is found."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.daimon import Daimon

from daimon_mcp.store.blobs import Blobs


async def test_a_missing_blob_file_is_named(daimon: Daimon, tmp_path: Path) -> None:
    core = daimon.operations.core
    large = os.urandom(2 << 20)
    blob = await core.blobs.prepare(large)
    await core.database.write(lambda tx: Blobs.put(tx, blob, core.clock.now()))
    assert await core.blobs.get(core.database, blob.hash) == large
    assert await core.blobs.missing(core.database) == []
    [file] = [path for path in (tmp_path / "data" / "blobs").rglob(f"{blob.hash}*") if path.is_file()]
    file.unlink()
    assert await core.blobs.missing(core.database) == [blob.hash]

"""The power goes at a random moment: what had been acknowledged is there afterwards, whole."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from tests.durability.disk import restore
from tests.support.contracts import ROOT
from tests.support.daimon import running

from daimon_mcp.store.consistency import findings


@dataclass
class Lost:
    """What a run acknowledged, and what of it the disk no longer had."""

    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    missing: list[str] = field(default_factory=list[str])
    large: int = 0
    unusable: str = ""


async def power_loss(folder: Path, seed: int, mode: str = "as-shipped") -> Lost:
    """One server until its power goes, and the look at its disk."""
    root, record, disk = folder / "root", folder / "record", folder / "disk"
    root.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.durability.power_child", str(root), str(record), str(seed), mode]
    with anyio.fail_after(60):
        child = await anyio.run_process(command, cwd=ROOT, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    said = [json.loads(line) for line in child.stdout.splitlines()]
    lost = Lost({each["name"]: each["sha256"] for each in said if "name" in each})
    restore(record, root, disk)
    try:
        await examine(disk / "data", lost)
    except Exception as error:
        if mode == "as-shipped":
            raise
        lost.unusable = repr(error)
    return lost


async def examine(data: Path, lost: Lost) -> None:
    """Open the data folder as a server would, and look for everything that was acknowledged."""
    if lost.acknowledged:
        assert (data / "master.key").read_bytes(), "the master key is gone"
    async with running(data) as daimon:
        core = daimon.operations.core
        found = await findings(core.database, deep=True)
        assert not found, found
        rows = await core.database.fetch(
            "SELECT m.subject, m.blob_hash, x.data IS NULL FROM messages m JOIN blobs x ON x.hash = m.blob_hash"
        )
        contents: dict[str, str] = {}
        for name, digest, is_file in rows:
            content = await core.blobs.get(core.database, digest)
            assert hashlib.sha256(content).hexdigest() == digest
            # Trace headers were put before what came in.
            contents[name] = hashlib.sha256(content[content.index(b"From: ann") :]).hexdigest()
            lost.large += is_file
        assert len(contents) == len(rows), "a message is there twice"
        lost.missing = [name for name, sha256 in lost.acknowledged.items() if contents.get(name) != sha256]


async def runs(tmp_path: Path, seeds: range) -> None:
    outcomes: list[Lost] = []
    for seed in seeds:
        lost = await power_loss(tmp_path / str(seed), seed)
        assert not lost.missing, f"seed {seed}: {lost.missing}"
        outcomes.append(lost)
    assert sum(len(lost.acknowledged) for lost in outcomes) > 5 * len(outcomes)
    assert sum(lost.large for lost in outcomes) >= len(outcomes)


async def test_nothing_acknowledged_is_lost_with_the_power(tmp_path: Path) -> None:
    await runs(tmp_path, range(3))


@pytest.mark.long
async def test_nothing_acknowledged_is_lost_with_the_power_in_many_runs(tmp_path: Path) -> None:
    await runs(tmp_path, range(100, 140))


@pytest.mark.parametrize("mode", ["synchronous-off", "synchronous-normal", "files-unsynced"])
async def test_the_harness_notices_when_something_is_not_safe(tmp_path: Path, mode: str) -> None:
    lost = await power_loss(tmp_path / "run", 4, mode)
    assert lost.acknowledged
    assert lost.missing or lost.unusable

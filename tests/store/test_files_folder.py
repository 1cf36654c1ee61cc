"""The files folder: every home has its own bounds, and what was half written there goes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from daimon_mcp.store.files_folder import FilesFolder, FolderFull


def test_a_home_holds_so_many_octets_and_so_many_files(tmp_path: Path) -> None:
    folder = FilesFolder(tmp_path / "files", 100, 3)
    for name in ("a", "b", "c"):
        folder.save(["acc_1", "inb_1"], name, b"x")
    with pytest.raises(FolderFull):
        folder.save(["acc_1"], "d", b"x")
    folder.save(["acc_2"], "a", b"x" * 100)
    with pytest.raises(FolderFull):
        folder.save(["acc_2"], "b", b"x")
    assert folder.save(["acc_2"], "a", b"x" * 100) == tmp_path / "files" / "acc_2" / "a"  # it is there already


def test_the_folder_itself_is_a_home_beside_those_in_it(tmp_path: Path) -> None:
    folder = FilesFolder(tmp_path / "files", 100, 3)
    folder.save(["acc_1"], "a", b"x" * 100)
    folder.save([], "a", b"x" * 60, without="acc_")
    (tmp_path / "files" / "sub").mkdir()
    (tmp_path / "files" / "sub" / "b").write_bytes(b"x" * 30)
    with pytest.raises(FolderFull):
        folder.save([], "b", b"x" * 11, without="acc_")
    folder.save([], "b", b"x" * 10, without="acc_")


def test_what_was_left_half_written_does_not_count_and_goes(tmp_path: Path) -> None:
    home = tmp_path / "files" / "acc_1"
    home.mkdir(parents=True)
    (home / ".daimon-unfinished-0123").write_bytes(b"x" * 100)
    folder = FilesFolder(tmp_path / "files", 100)
    folder.save(["acc_2"], "a", b"x")
    folder.save(["acc_1"], "a", b"x")
    assert [each.name for each in home.iterdir()] == ["a"]

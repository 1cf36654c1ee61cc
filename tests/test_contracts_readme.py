"""README.md says what the code does: its tables, its commands, and the demo's transcript."""

from __future__ import annotations

import re

from scripts.readme import ROOT, SECTIONS, rendered
from tests.support.contracts import check_contract


def test_generated_parts_are_what_the_code_makes() -> None:
    check_contract("README.md", rendered((ROOT / "README.md").read_text(encoding="utf-8")))


def test_every_part_is_in_the_readme() -> None:
    found = set(re.findall(r"<!-- begin:(\w+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert found == set(SECTIONS)

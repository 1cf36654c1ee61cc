"""Which format an attachment is read as."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.extraction.samples import DOCX, ODT, PDF, PPTX, XLSX

from daimon_mcp.extraction.kinds import supported


@pytest.mark.parametrize(
    ("content_type", "filename", "expected"),
    [
        ("text/plain", "", "text"),
        ("text/plain; charset=utf-8", "notes.txt", "text"),
        ("TEXT/HTML", "x", "html"),
        ("text/csv", "x.html", "csv"),
        ("text/x-python", "a", "text"),
        ("text/plain", "orders.CSV", "csv"),
        ("text/plain", "offer.pdf", "text"),
        ("application/octet-stream", "offer.PDF", "pdf"),
        ("application/octet-stream", "offer", None),
        ("application/octet-stream", ".pdf", "pdf"),
        ("application/octet-stream", "pdf", None),
        ("application/zip", "offer.docx", "docx"),
        ("application/zip", "offer.zip", None),
        ("", "a.json", "text"),
        ("", "", None),
        ("nonsense", "a.md", "text"),
        ("application/ld+json", "a", "text"),
        ("application/atom+xml", "", "text"),
        ("application/msword", "old.doc", None),
        ("application/msword", "new.docx", "docx"),
        ("application/vnd.ms-excel", "a.csv", "csv"),
        ("image/png", "a.txt", None),
        ("image/svg+xml", "a.svg", None),
        ("audio/mpeg", "a.pdf", None),
        ("message/rfc822", "", "eml"),
        ("message/delivery-status", "", "text"),
        (PDF, "", "pdf"),
        (DOCX, "", "docx"),
        (XLSX, "", "xlsx"),
        (PPTX, "", "pptx"),
        (ODT, "", "odf"),
        ("text/calendar; method=REQUEST", "", "ics"),
        ("text/vcard", "", "vcard"),
    ],
)
def test_the_type_decides_then_the_extension(content_type: str, filename: str, expected: str | None) -> None:
    assert supported(content_type, filename) == expected


def test_the_owner_imports_no_format() -> None:
    script = (
        "import sys, daimon_mcp.extraction.service\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('lxml', 'pypdfium2', 'openpyxl', 'docx')"
        " or name.startswith('daimon_mcp.extraction.formats')])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

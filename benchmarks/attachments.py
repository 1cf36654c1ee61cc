"""Text out of attachments: cold, warm, and the floor, which is the format's usual library called in this process.

`python -m benchmarks.attachments [FOLDER]`: without a folder the files are made here; with one, its files are read too.
"""

from __future__ import annotations

import asyncio
import csv
import email
import email.policy
import importlib
import io
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from daimon_mcp.extraction.service import Extraction, supported

ROUNDS = 20
COLD_ROUNDS = 5
OVERHEAD = 1.5
"""Most milliseconds that the way through the child should add to a file that needs no work."""

WORDS = "The delivery of forty lamps is due on Friday; the invoice follows by post. "


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, and the usual way to its text."""

    name: str
    content_type: str
    content: bytes
    floor: Callable[[bytes], Any]


def _library(name: str) -> Any:
    """The floors' libraries, most of them without types; loaded when they are measured."""
    return importlib.import_module(name)


def _docx() -> bytes:
    docx = _library("docx")
    document = docx.Document()
    for number in range(20):
        document.add_heading(f"Part {number}", level=1)
        for _ in range(10):
            document.add_paragraph(WORDS * 4)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _docx_text(content: bytes) -> str:
    docx = _library("docx")
    return "\n".join(paragraph.text for paragraph in docx.Document(io.BytesIO(content)).paragraphs)


def _xlsx(rows: int) -> bytes:
    openpyxl = _library("openpyxl")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Orders")
    for number in range(rows):
        sheet.append([number, f"Lamp {number}", number * 1.25, "2026-11-21", WORDS[:20]])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _xlsx_text(content: bytes) -> str:
    openpyxl = _library("openpyxl")
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    lines = ["\t".join("" if value is None else str(value) for value in row)
             for sheet in book.worksheets for row in sheet.iter_rows(values_only=True)]  # fmt: skip
    book.close()
    return "\n".join(lines)


def _pdf(pages: int) -> bytes:
    """Pages of forty lines in Helvetica, written by hand."""
    count = 3 + 2 * pages
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(pages))
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    objects = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {pages}>>", font]
    stream = "BT /F1 10 Tf 50 750 Td " + f"({WORDS}) Tj 0 -16 Td " * 40 + "ET"
    for number in range(pages):
        resources = f"/Resources<</Font<</F1 3 0 R>>>>/Contents {5 + 2 * number} 0 R"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]{resources}>>")
        objects.append(f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream")
    content, places = "%PDF-1.7\n", list[int]()
    for number, each in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj\n{each}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer <</Size {count + 1}/Root 1 0 R>>\nstartxref\n{len(content)}\n%%EOF"
    return f"{content}xref\n0 {count + 1}\n0000000000 65535 f \n{table}{end}".encode()


def _pdf_text(content: bytes) -> str:
    pypdfium2 = _library("pypdfium2")
    document = pypdfium2.PdfDocument(content)
    texts = [page.get_textpage().get_text_range() for page in document]
    document.close()
    return "\n".join(texts)


def _csv_text(content: bytes) -> str:
    return "\n".join("\t".join(row) for row in csv.reader(io.StringIO(content.decode())))


def _html_text(content: bytes) -> str:
    return _library("lxml.html").document_fromstring(content).text_content()


def _calendar_text(content: bytes) -> str:
    icalendar = _library("icalendar")
    return "\n".join(f"{event['SUMMARY']} {event['DTSTART'].dt}"
                     for event in icalendar.Calendar.from_ical(content).walk("VEVENT"))  # fmt: skip


def _message_text(content: bytes) -> str:
    return str(email.message_from_bytes(content, policy=email.policy.default).get_content())


def _samples() -> list[Sample]:
    event = (
        "BEGIN:VEVENT\r\nSUMMARY:Meeting\r\nDTSTART:20261121T090000Z\r\nDTEND:20261121T100000Z\r\n"
        "LOCATION:Room 5\r\nATTENDEE:mailto:ann@example.com\r\nEND:VEVENT\r\n"
    )
    calendar = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{event * 20}END:VCALENDAR\r\n".encode()
    table = "\n".join(f"{number},Lamp {number},{number * 1.25}" for number in range(2000)).encode()
    page = f"<p>{WORDS * 4}</p>"
    message = ("From: ann@example.com\r\nSubject: Lamps\r\nContent-Type: text/plain\r\n\r\n" + WORDS * 200).encode()
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return [
        Sample("text, 15 kB", "text/plain", (WORDS * 200).encode(), lambda content: content.decode()),
        Sample("HTML, 15 kB", "text/html", (page * 50).encode(), _html_text),
        Sample("CSV, 2,000 rows", "text/csv", table, _csv_text),
        Sample("calendar, 20 events", "text/calendar", calendar, _calendar_text),
        Sample("message, 15 kB", "message/rfc822", message, _message_text),
        Sample("PDF, 10 pages", "application/pdf", _pdf(10), _pdf_text),
        Sample("DOCX, 200 paragraphs", word, _docx(), _docx_text),
        Sample("XLSX, 2,000 rows", sheet, _xlsx(2000), _xlsx_text),
    ]


async def _cold(sample: Sample) -> list[float]:
    times: list[float] = []
    for _ in range(COLD_ROUNDS):
        extraction = Extraction()
        begun = time.perf_counter()
        result = await extraction.extract(sample.content, sample.content_type, "")
        times.append(time.perf_counter() - begun)
        assert result.status == "ok", (sample.name, result.status)
        await extraction.aclose()
    return times


async def _warm(extraction: Extraction, sample: Sample) -> list[float]:
    times: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await extraction.extract(sample.content, sample.content_type, "")
        times.append(time.perf_counter() - begun)
    return times[1:]


def _floor(sample: Sample) -> list[float]:
    times: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        sample.floor(sample.content)
        times.append(time.perf_counter() - begun)
    return times[1:]


def _bomb() -> bytes:
    """A DOCX that inflates to a gigabyte."""
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr(
            "_rels/.rels", f'<Relationships><Relationship Id="a" Type="{kind}" Target="d.xml"/></Relationships>'
        )
        with file.open("d.xml", "w", force_zip64=True) as part:
            for _ in range(1024):
                part.write(b" " * (1 << 20))
    return buffer.getvalue()


async def _formats() -> None:
    report = Report("Text out of attachments")
    extraction = Extraction()
    for sample in _samples():
        cold = await _cold(sample)
        warm, floor = await _warm(extraction, sample), _floor(sample)
        report.times(f"{sample.name}: a new child", cold)
        report.times(f"{sample.name}: warm", warm)
        report.times(f"{sample.name}: the library in process (floor)", floor)
        least = statistics.median(floor) * 1e3
        # The child has low priority and cleans what it reads: as much again is fair on a busy machine.
        report.limit("  warm beyond the floor", statistics.median(warm) * 1e3 - least, round(OVERHEAD + least, 1), "ms")
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    bomb = _bomb()
    begun = time.perf_counter()
    status = (await extraction.extract(bomb, word, "")).status
    report.limit(f"DOCX that inflates to 1 GB: {status}", (time.perf_counter() - begun) * 1e3, 1000, "ms")
    await extraction.aclose()


async def _files(paths: Sequence[Path]) -> None:
    """Each of these, by the status it gets."""
    report = Report(f"{len(paths)} files of the folder")
    extraction = Extraction()
    statuses: dict[str, int] = {}
    times: list[float] = []
    for path in paths:
        content = path.read_bytes()
        begun = time.perf_counter()
        result = await extraction.extract(content, "application/octet-stream", path.name)
        times.append(time.perf_counter() - begun)
        statuses[result.status] = statuses.get(result.status, 0) + 1
    report.note(", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "no files")
    if times:
        report.times("a file", times)
        report.limit("the slowest file", max(times) * 1e3, 10_000, "ms")
    await extraction.aclose()


def main(folder: Path | None = None) -> None:
    """The formats, then the folder's files."""
    asyncio.run(_formats())
    if folder:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        asyncio.run(_files([path for path in files if supported("application/octet-stream", path.name)]))


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DAIMON_CORPORA")
    main(Path(given) if given else None)

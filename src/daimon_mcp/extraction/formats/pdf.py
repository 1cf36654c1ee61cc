"""PDF, by PDFium: the text of each page."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import pypdfium2  # pyright: ignore[reportMissingTypeStubs]
import pypdfium2.raw  # pyright: ignore[reportMissingTypeStubs]

from daimon_mcp.extraction.sink import Sink, Unreadable

MAX_PAGES = 1000
_MAX_PAGE_CHARS = 400_000
_MAX_ANNOTATIONS = 1000
_MAX_VALUE = 4000
_ERR_PASSWORD, _ERR_SECURITY = 4, 5
# PDFium's mark for the hyphen of a word that is broken at the end of a line.
_HYPHEN = re.compile("[\x02\ufffe](?:\r?\n)?")
_raw: Any = pypdfium2.raw  # made by ctypes: it has no types


def _entry(annotation: Any, key: bytes) -> str:
    """A text entry of an annotation; empty when it has none."""
    size = min(_raw.FPDFAnnot_GetStringValue(annotation, key, None, 0), _MAX_VALUE * 2)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    written = _raw.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: min(written, size)].decode("utf-16-le", "replace").rstrip("\0") if written <= size else ""


def _filled_in(page: pypdfium2.PdfPage) -> str:
    """What somebody filled into the form on a page, a line for each field: it is not in the page's own text."""
    lines: list[str] = []
    for number in range(min(_raw.FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS)):
        annotation = _raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            if _raw.FPDFAnnot_GetSubtype(annotation) == _raw.FPDF_ANNOT_WIDGET:
                value = _entry(annotation, b"V").strip()
                if value and value != "Off":
                    lines.append(f"{_entry(annotation, b'T') or 'field'}: {value}")
        finally:
            _raw.FPDFPage_CloseAnnot(annotation)
    return "\n".join(lines)


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    try:
        words = page.get_textpage()
        try:
            count = min(words.count_chars(), _MAX_PAGE_CHARS)
            text = _HYPHEN.sub("", words.get_text_range(0, count)) if count > 0 else ""
            return f"{text}\n{_filled_in(page)}"
        finally:
            words.close()
    finally:
        page.close()


def read(content: bytes, sink: Sink, charset: str | None) -> None:
    """Write every page, with its number in front when there are several. A page that cannot be read is left out."""
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        locked = getattr(error, "err_code", None) in {_ERR_PASSWORD, _ERR_SECURITY}
        raise Unreadable("encrypted" if locked else "damaged") from error
    try:
        _read_pages(document, sink)
    finally:
        document.close()


def _read_pages(document: pypdfium2.PdfDocument, sink: Sink) -> None:
    pages = len(document)
    sink.facts["pages"] = pages
    readable = 0
    for number in range(min(pages, MAX_PAGES)):
        sink.check()
        try:
            text = _page_text(document, number).strip()
        except pypdfium2.PdfiumError:
            continue
        readable += 1
        if text:
            sink.line(f"[Page {number + 1}]\n{text}\n" if pages > 1 else text)
    if not readable:
        raise Unreadable("damaged")
    sink.truncated = sink.truncated or readable < pages

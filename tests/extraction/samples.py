"""Small files of every format, made here, and ones that are made to hurt."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
PDF = "application/pdf"
TYPES = (
    "text/plain", "text/html", "text/csv", "text/calendar", "text/vcard", "message/rfc822", "application/rtf",
    PDF, DOCX, XLSX, PPTX, ODT,
)  # fmt: skip

FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
OFFICE_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="{main}"/>'
    "</Relationships>"
)


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return buffer.getvalue()


def word_file(document: str) -> bytes:
    """A DOCX of this XML and nothing else."""
    return archive({"_rels/.rels": OFFICE_RELATIONS.format(main="word/document.xml"), "word/document.xml": document})


def word(body: str) -> str:
    """A document of these paragraphs."""
    return f'<w:document xmlns:w="w"><w:body>{body}</w:body></w:document>'


def sheet_file(rows: str, *, strings: str = "", styles: str = "") -> bytes:
    """An XLSX of one sheet."""
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    related = (
        f'<Relationships><Relationship Id="r1" Type="{kind}/worksheet" Target="sheet.xml"/>'
        f'<Relationship Id="r2" Type="{kind}/sharedStrings" Target="strings.xml"/>'
        f'<Relationship Id="r3" Type="{kind}/styles" Target="styles.xml"/></Relationships>'
    )
    return archive(
        {
            "_rels/.rels": OFFICE_RELATIONS.format(main="xl/book.xml"),
            "xl/book.xml": '<workbook xmlns:r="r"><sheets><sheet name="One" r:id="r1"/></sheets></workbook>',
            "xl/_rels/book.xml.rels": related,
            "xl/sheet.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
            "xl/strings.xml": f"<sst>{strings}</sst>",
            "xl/styles.xml": f"<styleSheet>{styles}</styleSheet>",
        }
    )


def presentation_file() -> bytes:
    """A PPTX of two slides, in the order of the presentation and not of their names; the second has notes."""
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

    def slide(*paragraphs: str) -> str:
        text = "".join(f"<a:p><a:r><a:t>{words}</a:t></a:r></a:p>" for words in paragraphs)
        return f'<p:sld xmlns:p="p" xmlns:a="a"><p:txBody>{text}</p:txBody></p:sld>'

    return archive(
        {
            "_rels/.rels": OFFICE_RELATIONS.format(main="ppt/presentation.xml"),
            "ppt/presentation.xml": '<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst>'
            '<p:sldId id="256" r:id="r2"/><p:sldId id="257" r:id="r1"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": f'<Relationships><Relationship Id="r1" Type="{kind}/slide" '
            f'Target="slides/slide1.xml"/><Relationship Id="r2" Type="{kind}/slide" Target="slides/slide2.xml"/>'
            "</Relationships>",
            "ppt/slides/slide1.xml": slide("Figures", "Up by a third"),
            "ppt/slides/slide2.xml": slide("Welcome"),
            "ppt/slides/_rels/slide1.xml.rels": f'<Relationships><Relationship Id="r1" Type="{kind}/notesSlide" '
            'Target="../notesSlides/notes1.xml"/></Relationships>',
            "ppt/notesSlides/notes1.xml": slide("Say why"),
        }
    )


def open_document(body: str) -> bytes:
    """An OpenDocument file with this in its body."""
    return archive(
        {
            "mimetype": ODT,
            "content.xml": '<office:document-content xmlns:office="o" xmlns:text="t" xmlns:table="b"><office:body>'
            f"{body}</office:body></office:document-content>",
        }
    )


def written_by_word_library() -> bytes:
    """A DOCX as a library writes it: a heading, a link-free paragraph, lists, a table, a header and a footer."""
    import docx

    document = docx.Document()
    document.add_heading("Offer", level=1)
    document.add_paragraph("Dear Ann, the price is 40 € & falling.")
    document.add_paragraph("Delivery on Friday", style="List Bullet")
    table = document.add_table(2, 2)
    for row, words in enumerate((("Item", "Price"), ("Lamp", "40"))):
        for column, word_ in enumerate(words):
            table.cell(row, column).text = word_
    document.sections[0].header.paragraphs[0].text = "Lamps Ltd"
    document.sections[0].footer.paragraphs[0].text = "Registered in Oslo"
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def written_by_sheet_library() -> bytes:
    """An XLSX as a library writes it: two sheets, dates, a formula that nobody computed, a hidden sheet."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Orders"
    sheet.append(["Item", "Price", "Paid", "When"])
    sheet.append(["Lamp", 40.5, True, datetime(2026, 11, 21, 9, 30)])  # noqa: DTZ001 - a cell has no time zone
    sheet.append(["Chair", None, False, date(2026, 1, 2)])
    sheet.append(["Sum", "=SUM(B2:B3)"])
    hidden = book.create_sheet("Costs")
    hidden.sheet_state = "hidden"
    hidden.append([0.1 + 0.2])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def pdf(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalogue."""
    content = b"%PDF-1.7\n"
    places: list[int] = []
    for number, each in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer <</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(content))
    return content + table + trailer


def stream(octets: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(octets), entries, octets)


def pages_pdf(*contents: bytes, resources: bytes = b"", extra: Sequence[bytes] = ()) -> bytes:
    """A PDF with a page for each content stream object; object 3 is a font, which pages know as F1."""
    first = 4
    kids = b" ".join(b"%d 0 R" % (first + 2 * number) for number in range(len(contents)))
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(contents)), FONT]
    for number, content in enumerate(contents):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>%s>>>>"
            % (first + 2 * number + 1, resources)
        )
        objects.append(content)
    return pdf([*objects, *extra])


def words_pdf(*pages: str) -> bytes:
    """A PDF with these words, a line for each line."""
    contents: list[bytes] = []
    for page in pages:
        lines = " 0 -30 Td ".join(f"({line}) Tj" for line in page.splitlines())
        contents.append(stream(f"BT /F1 18 Tf 72 700 Td {lines} ET".encode("latin-1")))
    return pages_pdf(*contents)


def doubling_pdf(depth: int = 30) -> bytes:
    """A page whose drawing draws another twice, which draws another twice, and so on: 2 ** depth words."""
    extra: list[bytes] = []
    for number in range(6, 6 + depth):
        known = b"/Resources<</XObject<</X %d 0 R>>>>" % (number + 1)
        extra.append(stream(b"/X Do /X Do", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + known))
    font = b"/Resources<</Font<</F1 3 0 R>>>>"
    extra.append(stream(b"BT /F1 9 Tf (x) Tj ET", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + font))
    return pages_pdf(stream(b"/X Do"), resources=b"/XObject<</X 6 0 R>>", extra=extra)


def inflating_pdf(mebibytes: int) -> bytes:
    """A page whose content inflates, twice, to so many mebibytes."""
    packer = zlib.compressobj(9)
    once = b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)) + packer.flush()
    return pages_pdf(stream(zlib.compress(once, 9), b"/Filter[/FlateDecode/FlateDecode]"))


def zip_bomb(name: str, mebibytes: int) -> bytes:
    """An office file whose main part `name` inflates to so many mebibytes of white space; written as a stream."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("_rels/.rels", OFFICE_RELATIONS.format(main=name))
        with file.open(name, "w", force_zip64=True) as part:
            part.write(b"<document>")
            for _ in range(mebibytes):
                part.write(b" " * (1 << 20))
            part.write(b"</document>")
    return buffer.getvalue()

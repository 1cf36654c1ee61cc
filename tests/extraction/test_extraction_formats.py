"""The text of ordinary files of every format, read through the child."""

from __future__ import annotations

import io

import pypdfium2  # pyright: ignore[reportMissingTypeStubs]
import pytest
from tests.extraction import samples
from tests.extraction.conftest import Extract
from tests.extraction.samples import DOCX, ODT, PDF, PPTX, XLSX


def test_plain_text(extract: Extract) -> None:
    result = extract("Hällo\r\nwörld\n".encode(), "text/plain", "")
    assert (result.status, result.text, result.truncated, result.facts) == ("ok", "Hällo\nwörld", False, {})


RUSSIAN = "Привет, это обычное сообщение о заказе номер пять. Спасибо за покупку и до встречи.\n" * 5
GERMAN = "Größe, Straße und Käse für 5 Frösche.\n" * 10


@pytest.mark.parametrize(
    ("content", "content_type", "expected"),
    [
        (RUSSIAN.encode("cp1251"), "text/plain", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), "text/plain", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), "text/plain; charset=koi8-r", RUSSIAN),
        (RUSSIAN.encode("utf-16"), "text/plain; charset=utf-8", RUSSIAN),
        (GERMAN.encode("cp1252"), "text/plain", GERMAN),
        (GERMAN.encode("utf-16-le"), "text/plain", GERMAN),
        ("Frösche".encode("cp1252"), "text/plain", "Frösche"),
        ("<?xml version='1.0' encoding='windows-1251'?><a>Да</a>".encode("cp1251"), "text/xml",
         "<?xml version='1.0' encoding='windows-1251'?><a>Да</a>"),
    ],
)  # fmt: skip
def test_charsets(extract: Extract, content: bytes, content_type: str, expected: str) -> None:
    assert extract(content, content_type, "").text == expected.strip()


def test_what_nobody_sees_is_not_in_the_text(extract: Extract) -> None:
    assert extract("a\u202eb\u200bc\x07\ufeff d".encode(), "text/plain", "").text == "abc d"


def test_json_markdown_and_xml_are_as_they_are(extract: Extract) -> None:
    for content, name in ((b'{"a": [1, 2]}', "a.json"), (b"# Title\n\n* one", "a.md"), (b"<a><b/></a>", "a.xml")):
        assert extract(content, "application/octet-stream", name).text == content.decode()


def test_html(extract: Extract) -> None:
    source = '<meta charset="windows-1252"><p>Gr\xf6\xdfe</p><p style="display:none">secret</p><script>x</script>'
    assert extract(source.encode("latin-1"), "text/html", "").text == "Größe"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,2\n", "a\tb\n1\t2"),
        (b"a;b\n1,5;2\n", "a\tb\n1,5\t2"),
        (b"a\tb\n1\t2\n", "a\tb\n1\t2"),
        (b'a,"one\ntwo, ""three"""\n', 'a\tone two, "three"'),
        (b"one\ntwo\n", "one\ntwo"),
    ],
)
def test_csv(extract: Extract, content: bytes, expected: str) -> None:
    assert extract(content, "text/csv", "").text == expected


def test_docx(extract: Extract) -> None:
    result = extract(samples.written_by_word_library(), DOCX, "")
    assert result.status == "ok"
    assert result.text == (
        "# Offer\n\nDear Ann, the price is 40 € & falling.\n\n- Delivery on Friday\nItem\tPrice\nLamp\t40\n\n"
        "[Header]\nLamps Ltd\n\n[Footer]\nRegistered in Oslo"
    )


def test_docx_without_what_was_deleted_or_hidden(extract: Extract) -> None:
    def run(words: str, looks: str = "") -> str:
        return f"<w:r><w:rPr>{looks}</w:rPr><w:t>{words}</w:t></w:r>"

    shown = '<w:vanish w:val="0"/>'
    body = (
        f"<w:p>{run('kept')}<w:del>{run('removed')}</w:del>{run('secret', '<w:vanish/>')}"
        f"{run(' shown', shown)}<w:r><w:tab/><w:t>tab</w:t><w:br/><w:t>line</w:t></w:r></w:p>"
        "<w:p><w:pPr><w:numPr><w:ilvl w:val='1'/></w:numPr><w:tabs><w:tab w:val='left' w:pos='720'/></w:tabs></w:pPr>"
        f"{run('nested item')}</w:p>"
        "<mc:AlternateContent xmlns:mc='m'><mc:Choice><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Choice>"
        "<mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent>"
    )
    result = extract(samples.word_file(samples.word(body)), DOCX, "")
    assert result.text == "kept shown\ttab\nline\n\n  - nested item\nbox"
    assert result.facts == {"hidden_runs": 1}


def test_xlsx(extract: Extract) -> None:
    result = extract(samples.written_by_sheet_library(), XLSX, "")
    assert result.text == (
        "[Sheet Orders]\nItem\tPrice\tPaid\tWhen\nLamp\t40.5\tTRUE\t2026-11-21 09:30:00\nChair\t\tFALSE\t2026-01-02\n"
        "Sum\t=SUM(B2:B3)\n\n[Sheet Costs, hidden]\n0.3"
    )
    assert result.facts == {"sheets": 2}


def test_xlsx_strings_errors_and_times(extract: Extract) -> None:
    rows = (
        '<row><c r="A1" t="s"><v>1</v></c><c r="B1" t="s"><v>7</v></c><c r="C1" t="e"><v>#N/A</v></c>'
        '<c r="D1" t="inlineStr"><is><t>in</t><t>line</t></is></c><c r="E1" s="1"><v>0.5</v></c>'
        '<c r="F1" s="2"><v>1.5</v></c><c r="G1" t="str"><f>A1</f><v>computed</v></c></row>'
    )
    strings = "<si><t>zero</t></si><si><r><t>東</t></r><r><t>京</t></r><rPh><t>トウキョウ</t></rPh></si>"
    styles = (
        '<numFmts><numFmt numFmtId="170" formatCode="&quot;days&quot; 0.0"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="20"/><xf numFmtId="170"/></cellXfs>'
    )
    result = extract(samples.sheet_file(rows, strings=strings, styles=styles), XLSX, "")
    assert result.text == "[Sheet One]\n東京\t\t#N/A\tinline\t12:00:00\t1.5\tcomputed"


def test_pptx(extract: Extract) -> None:
    result = extract(samples.presentation_file(), PPTX, "")
    assert result.text == "[Slide 1]\nWelcome\n\n[Slide 2]\nFigures\nUp by a third\n\n[Notes]\nSay why"
    assert result.facts == {"slides": 2}


def test_open_document(extract: Extract) -> None:
    body = (
        '<text:h text:outline-level="2">Offer</text:h><text:p>Dear<text:s text:c="2"/>Ann</text:p>'
        "<text:tracked-changes><text:p>removed</text:p></text:tracked-changes>"
        "<text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>"
        '<table:table table:name="T"><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>'
        '<table:table-cell table:number-columns-repeated="2"/><table:table-cell><text:p>d</text:p></table:table-cell>'
        '<table:table-cell table:number-columns-repeated="16380"/></table:table-row></table:table>'
    )
    result = extract(samples.open_document(body), ODT, "")
    assert result.text == "## Offer\n\nDear  Ann\n\n- one\n\n[Table T]\na\t\t\td"


def test_pdf(extract: Extract) -> None:
    result = extract(samples.words_pdf("Hello World\nsecond line"), PDF, "")
    assert (result.status, result.text, result.facts) == ("ok", "Hello World\nsecond line", {"pages": 1})


def test_pdf_pages_are_numbered(extract: Extract) -> None:
    result = extract(samples.words_pdf("one", "two"), PDF, "")
    assert (result.text, result.facts) == ("[Page 1]\none\n\n[Page 2]\ntwo", {"pages": 2})


def test_pdf_form_that_was_filled_in(extract: Extract) -> None:
    widget = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(Name)/V<FEFF0041006E006E00E9>/Rect[0 0 99 20]>>"
    box = b"<</Type/Annot/Subtype/Widget/FT/Btn/T(Agreed)/V/Yes/Rect[0 0 9 9]>>"
    empty = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(Empty)/Rect[0 0 9 9]>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Annots[4 0 R 5 0 R 6 0 R]>>"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, widget, box, empty]
    assert extract(samples.pdf(objects), PDF, "").text == "Name: Anné\nAgreed: Yes"


def test_pdf_written_by_a_library_has_no_text(extract: Extract) -> None:
    document = pypdfium2.PdfDocument.new()
    document.new_page(200, 200).close()  # pyright: ignore[reportUnknownMemberType]
    buffer = io.BytesIO()
    document.save(buffer)  # pyright: ignore[reportUnknownMemberType]
    document.close()
    result = extract(buffer.getvalue(), PDF, "")
    assert (result.status, result.text, result.facts) == ("empty", "", {"pages": 1})


def test_calendar(extract: Extract) -> None:
    content = (
        "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nDTSTART:19700101T000000\r\nEND:VTIMEZONE\r\n"
        "BEGIN:VEVENT\r\nSUMMARY:Lunch\\, then a\r\n  walk\r\nDTSTART;TZID=Europe/Oslo:20261121T120000\r\n"
        'DTEND:20261121T120000Z\r\nLOCATION:Room 5\r\nORGANIZER;CN="Ann: head":mailto:ann@example.com\r\n'
        "ATTENDEE;CN=Bob;PARTSTAT=NEEDS-ACTION:mailto:bob@example.com\r\nBEGIN:VALARM\r\nDESCRIPTION:beep\r\n"
        "END:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    result = extract(content.encode(), "text/calendar", "")
    assert result.text == (
        "Method: REQUEST\n\nEvent\nSummary: Lunch, then a walk\nStart: 2026-11-21 12:00 (Europe/Oslo)\n"
        "End: 2026-11-21 12:00 UTC\nWhere: Room 5\nOrganizer: Ann: head <ann@example.com>\n"
        "Attendee: Bob <bob@example.com> (needs action)"
    )
    assert result.facts == {"entries": 1}


def test_cards(extract: Extract) -> None:
    content = (
        "BEGIN:VCARD\nN:Doe;Jane;;Dr.;\nTEL;TYPE=cell:tel:+47-1\nADR;TYPE=work:;;Main St 1;Oslo;;0150;Norway\n"
        "item1.EMAIL:jane@example.com\nEND:VCARD\n"
        "BEGIN:VCARD\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:J=C3=B8=\nrgen\nEND:VCARD\n"
    )
    result = extract(content.encode(), "text/vcard", "")
    assert result.text == (
        "Name: Dr. Jane Doe\nPhone (cell): +47-1\nAddress (work): Main St 1, Oslo, 0150, Norway\n"
        "Email: jane@example.com\n\nName: Jørgen"
    )
    assert result.facts == {"cards": 2}


def test_message(extract: Extract) -> None:
    content = (
        b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\n"
        b"Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nSee the file.\r\n--b\r\nContent-Type: text/csv\r\n"
        b"Content-Disposition: attachment; filename=a.csv\r\n\r\na,b\r\n--b--\r\n"
    )
    result = extract(content, "message/rfc822", "")
    assert result.text == (
        "From: Ann <ann@example.com>\nTo: bob@example.com\nDate: 2026-11-21T09:00:00Z\nSubject: Größe\n\n"
        "See the file.\n[attachment: a.csv, text/csv, 3 bytes]"
    )
    assert result.facts == {"attachments": 1}


def test_rtf(extract: Extract) -> None:
    content = (
        rb"{\rtf1\ansi\ansicpg1251\uc1{\fonttbl{\f0 Arial;}}{\*\generator Writer;}{\info{\title Hidden}}"
        rb"\'cf\'f0\'e8\'e2\'e5\'f2 \b bold\b0\par \u9731? \u-10179?\u-8704? {\v secret}\{brace\}\tab end}"
    )
    assert extract(content, "application/rtf", "").text == "Привет bold\n☃ 😀 {brace}\tend"


def test_nothing_in_it(extract: Extract) -> None:
    for content, content_type in ((b"", PDF), (b" \n\t", "text/plain"), (samples.word_file(samples.word("")), DOCX)):
        result = extract(content, content_type, "")
        assert (result.status, result.text) == ("empty", "")


def test_unsupported(extract: Extract) -> None:
    assert extract(b"\x89PNG", "image/png", "a.png").status == "unsupported"
    assert extract(b"PK", "application/zip", "a.zip").status == "unsupported"

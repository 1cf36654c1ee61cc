"""Files that are made to hurt, damaged ones, locked ones, arbitrary octets: a status each, and the next job works."""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncGenerator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.extraction import samples
from tests.extraction.conftest import Extract
from tests.extraction.samples import DOCX, ODT, PDF, PPTX, TYPES, XLSX

from daimon_mcp.extraction.service import Extracted, Extraction

MIB = 1024 * 1024
STATUSES = {"ok", "empty", "unsupported", "too_large", "timed_out", "out_of_memory", "damaged", "encrypted"}


def is_sound(result: Extracted) -> None:
    """What holds of every answer."""
    assert result.status in STATUSES
    assert len(result.text) <= 200_000
    assert bool(result.text) == (result.status == "ok")
    result.text.encode()
    assert not set(result.text) & {chr(code) for code in (*range(9), *range(11, 32), 0x202E, 0x200B, 0xFEFF)}


def still_works(extract: Extract) -> None:
    """The next file is read."""
    assert extract(b"fine", "text/plain", "").text == "fine"


@pytest.mark.parametrize(
    ("name", "content_type", "mebibytes"),
    [
        ("word/document.xml", DOCX, 1024),
        ("xl/workbook.xml", XLSX, 1024),
        ("content.xml", ODT, 200),
        ("ppt/presentation.xml", PPTX, 200),
    ],
)
def test_archives_that_inflate_to_much(extract: Extract, name: str, content_type: str, mebibytes: int) -> None:
    bomb = samples.zip_bomb(name, mebibytes)
    assert len(bomb) < 6 * MIB
    assert extract(bomb, content_type, "").status == "too_large"
    # The same with a directory that says the part is small: what comes out is counted.
    place = bomb.rindex(b"PK\x01\x02", 0, bomb.rindex(b"PK\x05\x06"))
    liar = bytearray(bomb)
    struct.pack_into("<I", liar, place + 24, 1000)
    result = extract(bytes(liar), content_type, "")
    assert result.status in {"too_large", "damaged", "empty"}
    still_works(extract)


def test_archives_of_very_many_files(extract: Extract) -> None:
    assert extract(samples.archive({f"a{number}": "" for number in range(10_001)}), DOCX, "").status == "too_large"


def test_archives_inside_stay_closed(extract: Extract) -> None:
    inner = samples.zip_bomb("word/document.xml", 200)
    body = samples.word("<w:p><w:r><w:t>words</w:t></w:r></w:p>")
    outer = samples.archive(
        {
            "_rels/.rels": samples.OFFICE_RELATIONS.format(main="word/document.xml"),
            "word/document.xml": body,
            "word/embeddings/inner.docx": inner,
        }
    )
    assert extract(outer, DOCX, "").text == "words"


def test_entities_are_refused(extract: Extract) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE d [<!ENTITY l0 "lol">{laughs}]>' + samples.word("<w:p><w:r><w:t>&l11;</w:t></w:r></w:p>")
    assert extract(samples.word_file(bomb), DOCX, "").status == "damaged"
    outside = '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + samples.word(
        "<w:p><w:r><w:t>&x;</w:t></w:r></w:p>"
    )
    assert extract(samples.word_file(outside), DOCX, "").status == "damaged"
    still_works(extract)


def nested(opening: str, closing: str, depth: int) -> str:
    """Elements in each other, few octets once they are packed."""
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"[" * 5_000_000, "application/json"),
        (b"<a>" * 2_000_000, "application/xml"),
        (b"<div>" * 300_000, "text/html"),
        (b"<table><tr><td>" * 100_000, "text/html"),
        (b"{\\rtf1" + b"{" * 1_000_000, "application/rtf"),
        (b"BEGIN:VEVENT\n" * 500_000, "text/calendar"),
        (b'A;B="' * 1_000_000, "text/calendar"),
        (b"BEGIN:VCARD\nNOTE;QUOTED-PRINTABLE:=\n" + b"=\n" * 2_000_000, "text/vcard"),
        (b'a,"' + b"b\n" * 5_000_000, "text/csv"),
        (b"," * 10_000_000, "text/csv"),
        (b'"' * 10_000_001, "text/csv"),
        (b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n" * 500_000, "message/rfc822"),
        (samples.word_file(samples.word(nested("<w:tbl><w:tr><w:tc>", "</w:tc></w:tr></w:tbl>", 20_000))), DOCX),
        (samples.word_file(samples.word(nested("<w:p>", "</w:p>", 50_000))), DOCX),
        (samples.open_document(nested("<text:list>", "</text:list>", 50_000)), ODT),
        (samples.sheet_file('<row><c r="XFD1048576"><v>1</v></c></row>'), XLSX),
        (samples.sheet_file('<row><c t="s"><v>99999999999</v></c><c s="9"><v>1e400</v></c></row>'), XLSX),
        (samples.sheet_file(f"<row><c t='str'><v>{'x' * 3_000_000}</v></c></row>"), XLSX),
        (samples.sheet_file("<row>" + "<c><v>1</v></c>" * 100_000 + "</row>"), XLSX),
    ],
)
def test_deep_long_and_wide(extract: Extract, content: bytes, content_type: str) -> None:
    is_sound(extract(content, content_type, ""))
    still_works(extract)


def test_a_lonely_cell_in_the_last_column_is_one_short_line(extract: Extract) -> None:
    result = extract(samples.sheet_file('<row><c r="XFD1048576"><v>1</v></c></row>'), XLSX, "")
    assert result.text.split() == ["[Sheet", "One]", "1"]
    assert len(result.text) < 50


def test_more_text_than_wanted(extract: Extract) -> None:
    rows = '<row><c t="str"><v>words</v></c></row>' * 100_000
    for content, content_type in (
        (b"words " * 100_000, "text/plain"),
        (b"a,b\n" * 100_000, "text/csv"),
        (samples.word_file(samples.word("<w:p><w:r><w:t>words</w:t></w:r></w:p>" * 100_000)), DOCX),
        (samples.sheet_file(rows), XLSX),
        (samples.words_pdf(*["word " * 1000] * 60), PDF),
    ):
        result = extract(content, content_type, "")
        is_sound(result)
        assert result.truncated
        assert len(result.text) > 190_000


def test_too_much_to_look_at() -> None:
    """Nothing is started for it, so no loop runs here."""
    import asyncio

    async def scenario() -> None:
        extraction = Extraction(max_input=1000)
        assert (await extraction.extract(bytes(1001), "text/plain", "")).status == "too_large"
        assert extraction.pids == []

    asyncio.run(scenario())


def test_documents_that_claim_pages_without_end(extract: Extract) -> None:
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>"
    for pages in (b"<</Type/Pages/Kids[3 0 R]/Count 1000000000>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 100000>>"):
        is_sound(extract(samples.pdf([b"<</Type/Catalog/Pages 2 0 R>>", pages, page]), PDF, ""))
    still_works(extract)


@pytest.fixture
async def small() -> AsyncGenerator[Extraction]:
    """One whose child has little memory."""
    made = Extraction(memory=128 * MIB)
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(samples.inflating_pdf(1024), PDF, id="aborted by its library"),
        pytest.param(samples.doubling_pdf(), PDF, id="thirty doublings"),
        pytest.param(b"a" * 24 * MIB + "😀".encode(), "text/plain", id="raised in Python"),
    ],
)
async def test_more_memory_than_there_is(small: Extraction, content: bytes, content_type: str) -> None:
    assert (await small.extract(content, content_type, "")).status == "out_of_memory"
    assert (await small.extract(b"fine", "text/plain", "")).text == "fine"


async def test_a_library_that_comes_to_no_end() -> None:
    extraction = Extraction(seconds=0.5, memory=8192 * MIB)
    assert (await extraction.extract(samples.doubling_pdf(), PDF, "")).status == "timed_out"
    assert (await extraction.extract(b"fine", "text/plain", "")).text == "fine"
    await extraction.aclose()


def test_locked_files(extract: Extract) -> None:
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    locked = compound + bytes(500) + "EncryptedPackage".encode("utf-16-le") + bytes(500)
    assert extract(locked, DOCX, "").status == "encrypted"
    assert extract(compound + bytes(1000), DOCX, "").status == "unsupported"
    flagged = bytearray(samples.word_file(samples.word("")))
    place = flagged.index(b"PK\x01\x02")
    while place >= 0:
        flagged[place + 8] |= 1
        place = flagged.find(b"PK\x01\x02", place + 1)
    assert extract(bytes(flagged), DOCX, "").status == "encrypted"
    manifest = {"META-INF/manifest.xml": "<m:encryption-data/>", "content.xml": b"\x01\x02"}
    assert extract(samples.archive(manifest), ODT, "").status == "encrypted"
    standard = b"<</Filter/Standard/V 1/R 2/P -4/Length 40/O <" + b"41" * 32 + b">/U <" + b"42" * 32 + b">>>"
    document = samples.pdf(
        [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
         b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>", standard]
    ).replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]")  # fmt: skip
    assert extract(document, PDF, "").status == "encrypted"


GOOD = {
    DOCX: samples.written_by_word_library(),
    XLSX: samples.written_by_sheet_library(),
    PPTX: samples.presentation_file(),
    PDF: samples.words_pdf("one", "two"),
}


@pytest.mark.parametrize("content_type", GOOD)
def test_cut_off(extract: Extract, content_type: str) -> None:
    good = GOOD[content_type]
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        is_sound(extract(good[: int(len(good) * share)], content_type, ""))
    assert extract(good[: len(good) // 20], content_type, "").status == "damaged"


@pytest.mark.parametrize("content_type", GOOD)
def test_octets_changed_at_random(extract: Extract, content_type: str) -> None:
    chance = random.Random(7)
    for _ in range(40):
        changed = bytearray(GOOD[content_type])
        for _ in range(chance.choice((1, 5, 50))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        is_sound(extract(bytes(changed), content_type, ""))
    still_works(extract)


@given(content=st.binary(max_size=2000), content_type=st.sampled_from(TYPES))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_octets_of_every_type(extract: Extract, content: bytes, content_type: str) -> None:
    is_sound(extract(content, content_type, ""))


TOKENS = (
    "BEGIN:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "DTSTART:20261301T996199Z", "BEGIN:VCARD", "N:;;;;;;", "\n",
    "\r\n ", "{\\rtf1",
    "\\u-1?", "\\'ff", "\\uc9", "\\bin5", "{\\*", "}", "<table>", "<b", "&#xffffffff;", '"', ",", ";",
    "\t", "From: a@b", "Content-Type: multipart/mixed; boundary=x", "--x", "\u202e", "\x00", "é", "word",
)  # fmt: skip


@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=40), content_type=st.sampled_from(TYPES[:7]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_of_every_text_format(extract: Extract, tokens: list[str], content_type: str) -> None:
    is_sound(extract("".join(tokens).encode(), content_type, ""))

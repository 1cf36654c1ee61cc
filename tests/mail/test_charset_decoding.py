"""Octets to text: labels that lie, labels that are missing, marks and shapes that tell the charset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.charsets import (
    BROKEN,
    MIN_GUESS,
    UNDECLARED,
    UNKNOWN,
    decode_text,
    decode_unlabelled,
    find_codec,
    html_charset,
)

_LETTERS = {
    "cp1251": "Здравствуйте, отчёт за октябрь готов. Посмотрите его до пятницы, пожалуйста, и скажите, что изменить.",
    "koi8_r": "Здравствуйте, отчёт за октябрь готов. Посмотрите его до пятницы, пожалуйста, и скажите, что изменить.",
    "gb18030": "十月份的报告已经完成。请在星期五之前看一下，并告诉我们需要修改什么。非常感谢您的帮助。",
    "big5": "十月份的報告已經完成。請在星期五之前看一下，並告訴我們需要修改什麼。非常感謝您的幫助。",
    "cp932": "十月のレポートができました。金曜日までにご覧になり、直すところがあればお知らせください。",
    "euc_jp": "十月のレポートができました。金曜日までにご覧になり、直すところがあればお知らせください。",
    "cp949": "시월 보고서가 준비되었습니다. 금요일까지 살펴보시고 고칠 것이 있으면 알려 주세요. 감사합니다.",
    "cp1253": "Η αναφορά του Οκτωβρίου είναι έτοιμη. Δείτε την ως την Παρασκευή και πείτε μας τι πρέπει να αλλάξει.",
    "cp1255": "הדוח של אוקטובר מוכן. נא לעיין בו עד יום שישי ולומר לנו מה יש לשנות. תודה רבה על העזרה.",
    "cp1256": "تقرير شهر أكتوبر جاهز. نرجو الاطلاع عليه قبل يوم الجمعة وإخبارنا بما يجب تغييره. شكرا جزيلا.",
    "cp874": "รายงานของเดือนตุลาคมพร้อมแล้ว กรุณาดูก่อนวันศุกร์และบอกเราว่าต้องแก้ไขอะไร ขอบคุณมาก",
    "cp1250": "Zpráva za říjen je hotová. Podívejte se na ni prosím do pátku a řekněte nám, co změnit. Děkujeme, Jiří",
    "iso8859_2": "Raport za październik jest już gotowy. Proszę przejrzeć go do piątku. Dziękuję, że Państwo są",
    "cp1254": "Ekim ayının raporu hazır. Lütfen cumaya kadar bakın ve neyin değişeceğini söyleyin. Teşekkürler",
    "cp1252": "Rapporten for oktober er færdig. Se på den før fredag, og sig hvad der skal ændres. Kærlig hilsen, Åse",
    "latin-1": "Le rapport d'octobre est prêt. Voilà où ça en est : dites-nous très vite ce qui ne vous plaît pas.",
}


@pytest.mark.parametrize("codec", _LETTERS)
@pytest.mark.parametrize("label", [None, "us-ascii", "x-unknown", "utf-8"])
def test_text_of_some_length_without_a_usable_label_is_recognised(codec: str, label: str | None) -> None:
    text = "\n".join([_LETTERS[codec]] * 4)
    octets = text.encode(codec)
    assert len(octets) >= MIN_GUESS
    assert decode_text(octets, label)[0] == text


@pytest.mark.parametrize("codec", ["cp1251", "gb18030", "cp932", "cp1250"])
def test_markup_around_few_words_does_not_mislead(codec: str) -> None:
    text = "".join(f'<p style="color:#333"><a href="https://x.example/a">{_LETTERS[codec]}</a></p>\n' for _ in range(5))
    assert decode_text(text.encode(codec), None)[0] == text


def test_short_text_is_western_unless_the_message_names_a_charset() -> None:
    assert decode_text("Frösche".encode("cp1252"), None) == ("Frösche", UNDECLARED)
    assert decode_text("Привет".encode("koi8-r"), None, hint="koi8-r") == ("Привет", UNDECLARED)
    assert decode_unlabelled("Привет".encode("koi8-r"), "koi8-r") == "Привет"
    assert decode_unlabelled("Grüße".encode(), "koi8-r") == "Grüße"
    assert decode_unlabelled(b"\xe9", "iso-2022-jp") == "é"


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("gb2312", "镕"),  # beyond GB 2312
        ("ks_c_5601-1987", "뷁"),  # beyond KS X 1001
        ("Shift_JIS", "①"),
        ("x-sjis", "髙"),
        ("big5-hkscs", "嘅"),
        ("iso-8859-8-i", "שלום"),
        ("iso-8859-9", "ğ€"),
        ("tis-620", "ไทย"),
        ("windows-1251", "Ж"),
        ("CP-1251", "Ж"),
        ("'koi8-r'", "Ж"),
        ("ISO_8859-5", "Ж"),
        ("charset=iso-8859-2", "ł"),
    ],
)
def test_labels_mean_what_their_senders_mean(label: str, text: str) -> None:
    codec = find_codec(label)
    assert codec is not None
    assert decode_text(text.encode(codec[0]), label) == (text, None)


@pytest.mark.parametrize("label", ["us-ascii", "iso-8859-1", "iso-8859-15", "koi8-r", "windows-1251", "big5", "euc-kr"])
def test_valid_utf8_wins_over_another_label(label: str) -> None:
    text = "Vielen Dank für 世界人権宣言 – schöne Grüße"
    assert decode_text(text.encode(), label)[0] == text


@pytest.mark.parametrize("text", ["模", "联通你好", "你好吗"])
def test_text_as_labelled_is_not_taken_for_utf8_by_accident(text: str) -> None:
    assert decode_text(text.encode("gb18030"), "gb2312") == (text, None)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("label", [None, "utf-8", "iso-8859-1", "us-ascii"])
def test_byte_order_marks_win(codec: str, label: str | None) -> None:
    assert decode_text("Grüße, 世界".encode(codec), label)[0] == "Grüße, 世界"


@pytest.mark.parametrize(
    ("octets", "label", "text"),
    [
        ("Hello".encode("utf-16-be"), "utf-16", "Hello"),
        ("Hello".encode("utf-16-le"), "utf-16", "Hello"),
        ("Hello there".encode("utf-16-le"), None, "Hello there"),
        (b"plain words", "utf-16", "plain words"),
        ("wörds".encode(), "utf-16le", "wörds"),
        ("cut\n".encode("utf-16-le")[:-1], "utf-16le", "cut"),
        (b"a\x00b", "utf-8", "a\x00b"),
        (b"+AGE-+2AA-", "utf-7", "a\ufffd"),
        (b"+ADw-script+AD4-", "utf-8", "+ADw-script+AD4-"),
        (b"+ADw-script+AD4-", None, "+ADw-script+AD4-"),
        (b"\x1b$B0l\x1b(B", None, "一"),
        (b"\x1b$B0l\x1b(B", "utf-8", "一"),
        (b"\x1b$)C\x0eGQ1[\x0f", None, "한글"),
        (b"~{VPND~}", "hz-gb-2312", "中文"),
        ("Grüße an 世界 \xe9".encode() + b"\xe9 x", "utf-8", "Grüße an 世界 éé x"),
        ("schöne Grüße ".encode() + b"\xe4\xb8", "utf-8", "schöne Grüße \ufffd"),
        ("Grüße".encode(), "iso-2022-jp", "Grüße"),
        (b"Gr\xfc\xdfe", "hz", "Grüße"),
    ],
)
def test_unicode_and_escapes(octets: bytes, label: str | None, text: str) -> None:
    assert decode_text(octets, label)[0] == text


def test_what_was_odd_is_said_in_our_own_words() -> None:
    assert decode_text(b"\xe9", "<script>")[1] == UNKNOWN
    assert decode_text(b"a", "no-such-charset")[1] == UNKNOWN
    assert decode_text(b"\xe9t\xe9", "utf-8")[1] == BROKEN
    assert decode_text(b"a", None)[1] is None
    assert decode_text("é".encode(), None)[1] is None


@pytest.mark.parametrize(
    ("html", "charset"),
    [
        (b'<html><meta charset="koi8-r">', "koi8-r"),
        (b'<META content="text/html; charset=windows-1251" http-equiv=Content-Type>', "windows-1251"),
        (b'<?xml version="1.0" encoding="shift_jis"?><html>', "shift_jis"),
        (b'<meta charset="utf-7">', None),
        (b'<meta charset="utf-16">', None),
        (b'<meta charset="nonsense">', None),
        (b"<p>charset=koi8-r", None),
        (b" " * 5000 + b'<meta charset="koi8-r">', None),
    ],
)
def test_charset_named_in_html(html: bytes, charset: str | None) -> None:
    assert html_charset(html) == charset


_EIGHT_BIT = ["utf-8", "us-ascii", "utf-16", "utf-16le", "utf-32", "gb2312", "big5", "euc-kr", "shift_jis", "koi8-r"]
_ODD = ["utf-7", "iso-2022-jp", "iso-2022-kr", "hz", "iso-8859-8-i", "cp037", "punycode", "idna", "base64", "x-unknown"]
_LABELS = st.sampled_from([*_EIGHT_BIT, *_ODD])


@given(st.binary(max_size=2000), st.none() | _LABELS | st.text(max_size=20), st.none() | _LABELS)
def test_whatever_the_octets_and_labels_the_text_can_be_encoded(
    octets: bytes, label: str | None, hint: str | None
) -> None:
    decode_text(octets, label, hint=hint)[0].encode()
    decode_unlabelled(octets, hint).encode()
    html_charset(octets)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\x1b\ufeff"), max_size=500))
def test_utf8_reads_back_under_any_label_of_one_octet(text: str) -> None:
    for label in ("utf-8", "us-ascii", "iso-8859-1", None):
        assert decode_text(text.encode(), label)[0] == text

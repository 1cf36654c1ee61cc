"""Octets to text, whatever the label says. Never raises, linear in the number of octets."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from functools import lru_cache

MIN_GUESS = 256
"""Octets below which the charset is not guessed from the words: on short text guesses are mostly wrong."""

# Labels that in practice mean a larger set than they name (WHATWG Encoding), or that Python spells otherwise.
_ALIASES = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "us_ascii": "cp1252",
    "usascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "iso_8859-1": "cp1252",
    "iso_8859-1:1987": "cp1252",
    "iso88591": "cp1252",
    "8859_1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "l1": "cp1252",
    "x-ansi": "cp1252",
    "ansi": "cp1252",
    "iso-8859-9": "cp1254",
    "iso8859-9": "cp1254",
    "latin5": "cp1254",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "logical": "iso-8859-8",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "dos-874": "cp874",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gb2312_charset": "gb18030",
    "gb_18030": "gb18030",
    "euc-cn": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "cp936": "gb18030",
    "windows-936": "gb18030",
    "cn-gb": "gb18030",
    "chinese": "gb18030",
    "hz-gb-2312": "hz",
    "big5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "cn-big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "cp950": "big5hkscs",
    "windows-950": "big5hkscs",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "ks_c_5601": "cp949",
    "ksc_5601": "cp949",
    "ksc5601": "cp949",
    "korean": "cp949",
    "euc-kr": "cp949",
    "euckr": "cp949",
    "windows-949": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "shiftjis": "cp932",
    "x-sjis": "cp932",
    "sjis": "cp932",
    "ms_kanji": "cp932",
    "windows-31j": "cp932",
    "cswindows31j": "cp932",
    "windows-932": "cp932",
    "x-euc-jp": "euc-jp",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-2022-jp-1": "iso2022_jp_ext",
    "iso-2022-jp-3": "iso2022_jp_3",
    "cp50220": "iso2022_jp_ext",
    "cp50221": "iso2022_jp_ext",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "koi8": "koi8-r",
    "koi": "koi8-r",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "win-1251": "cp1251",
    "cyrillic-windows": "cp1251",
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "csunicode11utf7": "utf-7",
    "unicode-1-1-utf-8": "utf-8-sig",
    "unicode": "utf-16",
    "ucs-2": "utf-16",
    "iso-10646-ucs-2": "utf-16",
    "utf8mb4": "utf-8-sig",
    "utf-8mb4": "utf-8-sig",
    "x-utf-8": "utf-8-sig",
    "utf_8": "utf-8-sig",
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
}
_LABEL = re.compile(r"[a-z0-9][a-z0-9_.:+-]{0,39}\Z")
_NOT_A_LABEL = re.compile(r"[\s\"'<>;,\[\]()]+")
_NAMED_PAGE = re.compile(r"(?:x-)?(?:windows|win|cp|ibm|dos|ms)[-_]?(\d{3,5})\Z")
_ISO_PAGE = re.compile(r"(?:x-)?iso[-_]?8859[-_]?(\d{1,2})(?:[-_:][a-z0-9]{1,8})?\Z")
_PROBE = b"ABC abc 019 +AGE- ~{VP~} \x1b$B0l\x1b(B ..."
"""ASCII octets that mean other characters in UTF-7, HZ, the ISO-2022 family, UTF-16 and EBCDIC."""
_REFUSED = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
"""Codecs of Python that are no charsets of mail, or not linear in time."""
_EAST_ASIAN = frozenset({"gb18030", "big5hkscs", "cp949", "cp932", "euc_jp", "johab"})
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ISO_2022 = (  # RFC 1468, RFC 1557, RFC 1922: the escape that such text begins with, and its codec
    (re.compile(rb"\x1b\$\)C"), "iso2022_kr"),
    (re.compile(rb"\x1b(?:\$[@B]|\$\([DO-Q]|\([JI])"), "iso2022_jp_ext"),
)
_LONG_UTF8 = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_SHORT_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]")
_META = re.compile(rb"<meta\b[^>]{0,300}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:+-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"\s{0,99}<\?xml\b[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([\w.:+-]{2,40})")
_HIGH = bytes(range(128, 256))
_SAMPLE = 4096
_MAX_REPAIRS = 10_000
_SURROGATES = re.compile("[\ud800-\udfff]")
_EAST = ("gb18030", "big5hkscs", "cp949")  # Japanese is told apart without
_GUESSES = [*_EAST, "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874", "iso8859_5", "cp866", "cp1252"]
_WORDS_BEYOND_ASCII = re.compile(rb"(?<![A-Za-z])[A-Za-z]*+[\x80-\xff][A-Za-z\x80-\xff]*+")
_MARKUP = re.compile(
    rb"<[^<>]{0,2000}+>|&[a-z#0-9]{1,20};|https?://[!-~]{1,2000}+|[!-~]{1,64}@[!-~]{1,255}+", re.IGNORECASE
)
_MARKS = "\u2018\u2019\u201c\u201d\u201e\u2026\u2013\u2014\u20ac\xa0\xab\xbb\xb0\xa7"
# The letters beyond ASCII of languages in Latin script, by the charset their mail was written in. The first wins ties.
_ALPHABETS = {
    codec: tuple(frozenset(alphabet + _MARKS) for alphabet in alphabets.split())
    for codec, alphabets in {
        "cp1252": "éèàêâîôûçëïùœ äöüß áéíóúñü¿¡ ãçáéíóêâõàú àèéìòù åäöé æøåé ðþæáéíóúýö ëéïóèü àçèéíòóúïü·",
        "cp1250": "ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîşţ čćđšž",
        "iso8859_2": "ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű ăâîşţ čćđšž",
        "cp1254": "çğıöşüi̇âî",
        "cp1257": "āčēģīķļņšūž ąčęėįšųūž õäöüšž",
    }.items()
}

BROKEN = "text does not fit its charset"
UNKNOWN = "unknown charset"
UNDECLARED = "8-bit text without a charset"


@lru_cache(maxsize=256)
def find_codec(label: str) -> tuple[str, bool] | None:
    """The Python codec for a charset label and whether it leaves ASCII octets alone; None for a label unknown to us."""
    name = _NOT_A_LABEL.sub("", label[:100]).lower().removeprefix("charset=")
    if name not in _ALIASES:
        if page := _NAMED_PAGE.match(name):
            name = f"cp{page[1]}"
        elif page := _ISO_PAGE.match(name):
            name = f"iso-8859-{int(page[1])}"
    name = _ALIASES.get(name, name)
    if not _LABEL.match(name):
        return None
    try:
        info = codecs.lookup(name)
        # bytes.decode refuses Python's codecs that are no charsets, such as base64, zip and rot13.
        b"aaaa".decode(name, "replace")
    except (LookupError, ValueError, ImportError):
        return None
    if info.name.replace("-", "_") in _REFUSED:
        return None
    return info.name, _PROBE.decode(name, "replace") == _PROBE.decode("ascii")


def _is_ascii_label(label: str) -> bool:
    name = label.strip().lower()
    return "ascii" in name or name.startswith("ansi_x3")


def _western(octets: bytes) -> str:
    """Windows-1252, and Latin-1 where that has holes."""
    try:
        return octets.decode("cp1252")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _repair(error: UnicodeError) -> tuple[str, int]:
    """Inside UTF-8: a lone octet is Windows-1252, a character cut short is lost."""
    assert isinstance(error, UnicodeDecodeError)
    bad = error.object[error.start : error.end]
    return _western(bad) if len(bad) == 1 and error.end < len(error.object) else "\ufffd", error.end


codecs.register_error("daimon-repair", _repair)


def _utf8(octets: bytes) -> str | None:
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _strict(octets: bytes, codec: str) -> str | None:
    try:
        return octets.decode(codec)
    except UnicodeError:
        return None


def _damaged_utf8(octets: bytes) -> str | None:
    """Octets that are UTF-8 for the most part; None when they are not."""
    text = octets.decode("utf-8-sig", "replace")
    broken = text.count("\ufffd")
    good = sum(count for character, count in Counter(text).items() if character > "\x7f") - broken
    if broken > good:
        return None
    return octets.decode("utf-8-sig", "daimon-repair") if broken <= _MAX_REPAIRS else text


def decode_unlabelled(octets: bytes, hint: str | None = None) -> str:
    """Octets without a charset, such as a header's: UTF-8 if they are valid, else the charset `hint` (what other parts
    of the message name), else Windows-1252; guessing is worse on short text."""
    if octets.isascii():
        return octets.decode("ascii")
    text = _utf8(octets)
    if text is not None:
        return text
    codec = find_codec(hint) if hint else None
    if codec and codec[1]:
        hinted = _strict(octets, codec[0])
        if hinted is not None:
            return hinted
    return _western(octets)


def html_charset(octets: bytes) -> str | None:
    """The charset an HTML text names in its first 4096 octets, as WHATWG HTML §13.2.3.2 looks for it, or None.

    A charset in which ASCII is not ASCII cannot be true there and is not believed.
    """
    start = octets[:_SAMPLE]
    match = _META.search(start) or _XML.match(start)
    if match is None:
        return None
    label = match[1].decode("ascii", "replace")
    codec = find_codec(label)
    return label if codec and codec[1] else None


def decode_text(octets: bytes, label: str | None, *, hint: str | None = None) -> tuple[str, str | None]:
    """Octets in the charset `label` (None: not said) as (text, warning or None). The text has no lone surrogates.

    `hint` is a charset named elsewhere in the message; it counts when the octets have no usable label.
    """
    found = find_codec(label) if label else None
    if found is not None and label and not _is_ascii_label(label):
        return _labelled(octets, *found)
    warning = UNKNOWN if found is None and label else None
    if octets.isascii():
        # No NUL and no escape: what nearly all text is.
        if b"\x00" not in octets and b"\x1b" not in octets:
            return octets.decode("ascii"), warning
        return _unicode_by_shape(octets) or _escaped(octets) or octets.decode("ascii"), warning
    text = _unicode_by_shape(octets)
    if text is not None:
        return text, warning
    text = _utf8(octets)
    if text is not None:
        return text, warning
    hinted = find_codec(hint) if hint else None
    if hinted and hinted[1] and hinted[0] != "cp1252" and (text := _strict(octets, hinted[0])) is not None:
        return text, warning or UNDECLARED
    return _unlabelled(octets), warning or UNDECLARED


def _labelled(octets: bytes, codec: str, transparent: bool) -> tuple[str, str | None]:
    if octets.isascii() and transparent and b"\x1b" not in octets:
        return octets.decode("ascii"), None
    if codec.startswith(("utf-16", "utf-32")):
        return _utf16_or_32(octets, codec)
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\x00" in octets[:_SAMPLE]:
        text = _unicode_by_shape(octets)
        if text is not None:
            return text, BROKEN
    text = _strict(octets, codec)
    if text is not None:
        if transparent and codec != "utf-8-sig" and not octets.isascii() and _is_surely_utf8(octets, codec):
            return octets.decode("utf-8-sig"), None
        if codec == "utf-7":
            text = _SURROGATES.sub("\ufffd", text)  # Python's decoder lets lone ones through
        if transparent and b"\x1b" in octets and (escaped := _escaped(octets)):
            text = escaped
        return text, None
    utf8 = _utf8(octets)
    if codec == "cp1252":
        return (_western(octets) if utf8 is None else utf8), None
    if utf8 is not None and not octets.isascii():
        return utf8, BROKEN
    text = _SURROGATES.sub("\ufffd", octets.decode(codec, "replace"))
    if codec != "utf-8-sig" and text.count("\ufffd") * 8 <= len(octets) - len(octets.translate(None, _HIGH)):
        return text, BROKEN
    return (text if octets.isascii() else _unlabelled(octets)), BROKEN


def _unlabelled(octets: bytes) -> str:
    """8-bit text that is not valid UTF-8, and whose label is missing or wrong."""
    text = _damaged_utf8(octets)
    if text is not None:
        return text
    codec = guess_charset(octets)
    return octets.decode(codec, "replace") if codec else _western(octets)


def _is_surely_utf8(octets: bytes, codec: str) -> bool:
    """Whether text labelled otherwise is UTF-8: valid, and no accident.

    Text in a charset of one octet is never valid UTF-8 by accident. In East Asia's charsets a few characters may be:
    there it takes four of UTF-8's longer sequences.
    """
    if _utf8(octets) is None:
        return False
    if codec not in _EAST_ASIAN:
        return True
    sample = octets[:_SAMPLE]
    long = len(_LONG_UTF8.findall(sample))
    return long >= 4 and long > len(_SHORT_UTF8.findall(_LONG_UTF8.sub(b"", sample)))


def _unicode_by_shape(octets: bytes) -> str | None:
    """Text that begins with a byte order mark, or that has a NUL in every second octet; None when it is neither."""
    for mark, codec in _BOMS:
        if octets.startswith(mark):
            return octets[len(mark) :].decode(codec, "replace")
    start = octets[:512]
    if start.count(0) * 5 >= len(start) * 2 and len(start) >= 4:
        even, odd = start[::2].count(0), start[1::2].count(0)
        if max(even, odd) >= 4 * min(even, odd):
            return octets.decode("utf-16-be" if even > odd else "utf-16-le", "replace")
    return None


def _escaped(octets: bytes) -> str | None:
    """Text with the escapes of the ISO-2022 family, which needs no label to be known."""
    start = octets[: 16 * _SAMPLE]
    for escape, codec in _ISO_2022:
        if escape.search(start):
            return octets.decode(codec, "replace")
    return None


def _utf16_or_32(octets: bytes, codec: str) -> tuple[str, str | None]:
    for mark, marked in _BOMS:
        if octets.startswith(mark):
            return octets[len(mark) :].decode(marked, "replace"), None
    if b"\x00" not in octets[: 16 * _SAMPLE] and (text := _utf8(octets)) is not None:
        # A line feed alone would bring a NUL: this has been re-encoded and kept its label.
        return text, BROKEN if octets else None
    if codec == "utf-16":
        start = octets[:512]
        codec = "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"  # RFC 2781 §4.3
    elif codec == "utf-32":
        codec = "utf-32-be"
    if codec.startswith("utf-16") and len(octets) % 2:
        octets = octets.removesuffix(b"\n" if codec.endswith("be") else b"\r")
        octets = octets[:-1] if len(octets) % 2 else octets
    text = _strict(octets, codec)
    return (text, None) if text is not None else (octets.decode(codec, "replace"), BROKEN)


def _sample(octets: bytes) -> bytes:
    """Some kilobytes of whole lines around the first octet beyond ASCII."""
    first = next((number for number, octet in enumerate(octets[: 64 * _SAMPLE]) if octet > 127), 0)
    start = octets.rfind(b"\n", max(0, first - 200), first) + 1 or first
    sample = octets[start : start + _SAMPLE]
    return sample[: sample.rfind(b"\n") + 1] or sample if len(sample) == _SAMPLE else sample


def guess_charset(octets: bytes) -> str | None:
    """The codec that 8-bit text without a usable label seems to be in; None for Windows-1252, and when there is too
    little of it to tell (MIN_GUESS)."""
    if len(octets) < MIN_GUESS:
        return None
    sample = _MARKUP.sub(b" ", _sample(octets))
    high = sum(octet > 127 for octet in sample)
    if high < 8 or b"\x00" in sample:
        return None
    if (japanese := _japanese(sample)) is not None:
        return japanese
    if sum(map(len, _WORDS_BEYOND_ASCII.findall(sample))) > 2 * high:
        return _latin(sample)  # words of ASCII letters with few others among them
    from charset_normalizer import from_bytes  # takes some 50 ms, and few messages need it

    try:
        best = from_bytes(
            sample, steps=5, chunk_size=512, cp_isolation=_GUESSES, preemptive_behaviour=False, enable_fallback=False
        ).best()
    except Exception:  # noqa: BLE001 - a guess only: whatever it may raise, the text must be read
        return None
    return best.encoding if best else None


def _latin(sample: bytes) -> str | None:
    """Which charset makes the few octets beyond ASCII letters of one language; None is Windows-1252."""
    counts = Counter(octet for octet in sample if octet > 127)
    best, codec = 0, None
    for candidate, alphabets in _ALPHABETS.items():
        decoded = [(bytes([octet]).decode(candidate, "replace").lower(), count) for octet, count in counts.items()]
        score = max(sum(count for letter, count in decoded if letter in alphabet) for alphabet in alphabets)
        if score > best:
            best, codec = score, candidate
    return codec


def _japanese(sample: bytes) -> str | None:
    """Japanese is known by its kana, which no other language has so much of."""
    for codec in ("euc_jp", "cp932"):
        text = sample.decode(codec, "ignore")
        kana = sum("\u3040" <= character <= "\u30ff" for character in text)
        lost = len(sample) - len(text.encode(codec, "ignore"))
        if kana >= 10 and kana * 5 >= sum(character > "\x7f" for character in text) and lost * 50 <= len(sample):
            return codec
    return None

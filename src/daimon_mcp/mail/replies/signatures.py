"""Where the signature of a text starts: `-- ` blocks, lines of mobile mail programs, disclaimers, list footers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from daimon_mcp.mail.replies.header_block import is_ruler
from daimon_mcp.mail.replies.rows import Row

_MAX_ROWS = 14
_SEPARATOR = re.compile(r"(?:--|[-–—_]{2,80}|—)\Z")
# What a tracking add-on for Gmail leaves at the end of a text.
_TRACKER = "\u1427"
_LINK = re.compile(
    r"[<(\[]?(?:https?://|mailto:|www\.)[^\s<>()\[\]]{1,300}[>)\]]?|[<(\[][^<>()\[\]@]{0,80}@[^<>()\[\]]{0,80}[>)\]]"
)
_DASHED_NAME = re.compile(r"(?:-|[–—] ?|/)[^\W\d_a-zà-ÿ][\w.'’]{0,20}(?: [^\W\d_a-zà-ÿ][\w.'’]{0,20}){0,2}\Z")

_DEVICE = (
    r"(?:iphone|ipad|ipod|android|samsung|galaxy|blackberry|huawei|xiaomi|pixel|nokia"
    r"|windows|outlook|yahoo|gmail|mail)"
)
_TAGLINE = re.compile(
    r"(?:sent from (?:my |an? |the )?(?=\w)|sent (?:with|via|using) (?=[A-Z0-9])"
    r"|sent by my |yahoo mail: search, organi|get outlook for |via mobile\Z"
    r"|sent (?:on|through) (?:the |my )"
    r"|von mein\w{1,3} .{1,40} gesendet|gesendet (?:von|mit|über|aus) |diese nachricht wurde von mein"
    r"|envoyé (?:depuis|de mon|à partir|avec|via) |obtenez outlook|télécharger outlook|outlook für|laden sie outlook"
    r"|enviado (?:desde|do meu|da minha|de mi|a partir d|via|pelo|con) |enviat des "
    r"|obtener outlook|obter o outlook|baixar outlook"
    r"|inviato (?:da|dal|dall|con|tramite)\b|scarica outlook|ottieni outlook|verzonden (?:vanaf|met|via|vanuit|van) "
    r"|verstuurd (?:vanaf|met|via|vanuit) |download outlook|skickat från "
    r"|hämta outlook|sendt (?:fra|frå|med|via) |hent outlook"
    r"|lähetetty |hanki outlook|saadetud minu|wysłan[eoy] (?:z|ze|za pomocą) |pobierz outlook|odesláno z|odoslané z"
    r"|stáhnout outlook|elküldve |küldve |iphone-omról|trimis (?:de pe|din|cu|de la) "
    r"|poslano (?:iz|s|sa|z) |poslato sa |išsiųsta iš "
    r"|nosūtīts no |отправлено (?:с|из|от) |надіслано (?:з|із) |изпратено от "
    r"|послато са |στάλθηκε (?:από|απ) |εστάλη από "
    r"|dikirim (?:dari|daripada) |(?:đã )?(?:gửi|được gửi) từ |ส่งจาก|发自|發自"
    r"|发送自|寄自|傳送自|來自我的|从我的|從我的|获取 ?outlook"
    r"|أرسلت من|أُرسلت من|تم الإرسال من|مرسل من|ارسال شده از|ارسال شده با|נשלח מ|मेरे .{1,30} से भेजा)",
    re.IGNORECASE,
)
# Languages in which the verb comes last.
_TAGLINE_END = re.compile(
    r"(?:['’]?[uüiı]?mdan|['’]?[dt][ae]n) gönderildi|から送信(?:されました)?"
    r"|에서 (?:보냄|보낸 메일|전송됨)|से भेजा गया|lähetetty|-?(?:r[óő]l|ból) küldve",
    re.IGNORECASE,
)
_EXCUSE = re.compile(
    r", (?:so )?(?:please )?(?:excuse|forgive|pardon|apologies|sorry)|bitte entschuldig|\bbrevity\b|\btypos?\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"[,;:?!]\s|[.] \w|\b(?:is|are|was|were|and|but|i|we|you|it|yesterday|today|tomorrow|attached)\b", re.IGNORECASE
)

_NOTICE = re.compile(
    r"(?:confidentiality|privacy|legal) (?:notice|note|statement|disclaimer)\b"
    r"|(?:legal |email )?disclaimer ?[:：-]|avis de confidentialité"
    r"|aviso (?:legal|de confidencial\w{2,6})|haftungsausschluss"
    r"|hinweis zur vertraulichkeit|please consider the environment"
    r"|(?:this (?:e-?mail|message) (?:has been|was) )?(?:checked|scanned) (?:for"
    r"|by) (?:viruses|avast|avg)|virus-free\."
    r"|think before you print|p(?:lease)? (?:do not|don't) print this",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"confiden[tcz]i|confidential|privileged|proprietary|vertraulich|riservat"
    r"|vertrouwelijk|конфиденциальн|poufn|důvěrn"
    r"|bizalmas|luottamuksel|fortrolig|konfidenti|gizli|機密|机密|保密|سري",
    re.IGNORECASE,
)
_ADDRESSEE = re.compile(
    r"intended (?:only|solely|exclusively|recipient|for the)|solely for|addressee"
    r"|named recipient|unauthori[sz]ed|disclos|privileged"
    r"|adressat|empfänger|bestimmt|destinat|geadresseerde|bestemd|предназначен"
    r"|adresat|příjem|címzett|vastaanotta|mottaker|modtager"
    r"|alıcı|受信者|收件人|المرسل",
    re.IGNORECASE,
)
_INTENDED = re.compile(
    r"(?:this|the) (?:e-?mail|message|communication|transmission|information)s?\b.{0,200}"
    r"(?:intended (?:only|solely|exclusively)? ?for|(?:is|are|may be|contains?"
    r"|and) .{0,80}(?:confidential|privileged))",
    re.IGNORECASE,
)
_LIST_FOOTER = re.compile(r"mailing list|https?://|@|unsubscribe|listinfo", re.IGNORECASE)


def signature_start(rows: Sequence[Row]) -> int:
    """How many of `rows` are no signature: the index of its first row, `len(rows)` when there is none."""
    end = len(rows)
    for _ in range(6):
        start = _step(rows, end)
        if start == end:
            break
        end = start
    return end


def _step(rows: Sequence[Row], end: int) -> int:
    if not end:
        return 0
    last = rows[end - 1]
    if last.signature:
        start = end - 1
        while start and rows[start - 1].signature:
            start -= 1
        if start and _SEPARATOR.match(rows[start - 1].text):
            start -= 1
        return start
    if last.quoted:
        return end
    if _is_junk(last.text):
        while end and not rows[end - 1].quoted and _is_junk(rows[end - 1].text):
            end -= 1
        return end
    if (start := _block_start(rows, end)) < end:
        return start
    if is_tagline(last.text):
        return end - 1
    if (start := _notice_start(rows, end)) < end:
        return start
    if last.gap and end > 1 and _DASHED_NAME.match(last.text):
        return end - 1
    return end


def _is_junk(text: str) -> bool:
    """Whether a line without a word is a delimiter that ends a text, and no emoticon or emoji."""
    return is_ruler(text) or set(text) <= set("-_=*+~#—–> " + _TRACKER)


def _block_start(rows: Sequence[Row], end: int) -> int:
    """The last `--` line that has a short block below it, or a ruler above the footer of a mailing list."""
    for at in range(end - 1, max(-1, end - 2 - _MAX_ROWS), -1):
        row = rows[at]
        if row.quoted:
            return end
        if not _SEPARATOR.match(row.text):
            continue
        below = rows[at + 1 : end]
        if row.text == "--" or _looks_like_contact(below):
            return at
    return end


def _looks_like_contact(rows: Sequence[Row]) -> bool:
    """Whether the rows under a ruler are a signature or a list's footer rather than another section of the text."""
    if not rows or len(rows) > 8 or any(len(row.text) > 90 for row in rows):
        return False
    return any(_LIST_FOOTER.search(row.text) for row in rows) or _is_short_close(rows)


def _is_short_close(rows: Sequence[Row]) -> bool:
    """Whether the rows are a name and a title: few, short, and no sentence."""
    return len(rows) <= 4 and all(len(row.text) <= 45 and row.text[-1] not in ".:!?;,。：！？" for row in rows)


def is_tagline(text: str) -> bool:
    if len(text) > 300:
        return False
    shown = _LINK.sub("", text).strip(" .-–—_*[]<>()|")
    if len(shown) > 110 or len(shown.split()) > 12:
        return False
    excuse = _EXCUSE.search(shown)
    claim = shown[: excuse.start()] if excuse else shown
    match = _TAGLINE.match(claim)
    if match is not None:
        rest = claim[match.end() :]
        return not _CLAUSE.search(f"{rest} ") and len(rest.split()) <= 7
    return len(claim.split()) <= 8 and _TAGLINE_END.search(claim) is not None


def _notice_start(rows: Sequence[Row], end: int) -> int:
    """The start of the paragraphs at the end that are disclaimers: at most 3, each of at most 30 lines."""
    for start in range(end - 1, max(-1, end - 31), -1):
        row = rows[start]
        if row.quoted:
            return end
        if _NOTICE.match(row.text.lstrip("*_ ")) and start:
            return start
        if row.gap or start == 0 or _INTENDED.match(row.text):
            paragraph = " ".join(part.text for part in rows[start : min(end, start + 12)])[:3_000]
            return start if is_notice(paragraph) else end
    return end


def is_notice(paragraph: str) -> bool:
    if _NOTICE.match(paragraph.lstrip("*_ ")) or _INTENDED.match(paragraph):
        return True
    return len(paragraph) > 80 and _SECRET.search(paragraph) is not None and _ADDRESSEE.search(paragraph) is not None


def is_signature_like(rows: Sequence[Row]) -> bool:
    """Whether rows below a quote are the sender's signature and no answer: few, short, with a telephone number, an
    address or a separator among them."""
    if not rows or len(rows) > 12 or any(len(row.text) > 80 and not is_notice(row.text) for row in rows):
        return False
    return any(
        row.signature
        or _SEPARATOR.match(row.text)
        or is_tagline(row.text)
        or "@" in row.text
        or is_notice(row.text)
        or sum(character.isdigit() for character in row.text) >= 7
        for row in rows
    )

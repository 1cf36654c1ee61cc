"""Subjects of replies and forwards, and what is left of one without their marks (RFC 5256 §2.1)."""

from __future__ import annotations

import re

from daimon_mcp.mail.sanitize import clean_line

_REPLY = (
    r"re|r|aw|sv|antw|odp|vs|ynt|res|rif|ref|vá|atb|bls|на|ответ|відп|απ|σχετ|회신|回复|回覆|答复|答覆|返信|回信"
    r"|תשובה|רד|رد|trả lời|ตอบกลับ|ตอบ"
)
_FORWARD = (
    r"fwd?|fw|wg|tr|rv|enc|i|vb|vl|pd|fs|trs|edasi|továbbítás|vidarebefordrat|doorst|i̇lt|ilt|пересл|πρθ|转发|轉寄|転送|전달"
    r"|הועבר|إعادة توجيه|ส่งต่อ"
)
_COUNT = r"\.?(?:\s?\[\d{1,3}\]|\s?\(\d{1,3}\)|-?\d{1,2}|\*\d{1,2}|\^\d{1,2})?"
_REPLY_PREFIX = re.compile(rf"(?:{_REPLY}){_COUNT}\s?[:：]\s*", re.IGNORECASE)
_FORWARD_PREFIX = re.compile(rf"(?:{_FORWARD}){_COUNT}\s?[:：]\s*", re.IGNORECASE)
_WARNING = re.compile(r"\*{2,3}[^*]{1,40}\*{2,3}\s*")
_TAG = re.compile(r"\[[^\[\]]{1,60}\]\s*")
_WRAPPED = re.compile(r"\[\s*fwd?\s*:\s*(.*)\]\Z", re.IGNORECASE)
_TRAILER = re.compile(r"\s*\(fwd\)\Z", re.IGNORECASE)
_CLIP = 2000


def _strip(subject: str, patterns: tuple[re.Pattern[str], ...]) -> str:
    for _ in range(50):
        for pattern in patterns:
            match = pattern.match(subject)
            if match and match.end() < len(subject):
                subject = subject[match.end() :]
                break
            if match and pattern is not _TAG:
                return ""
        else:
            return subject
    return subject


def is_reply_subject(subject: str) -> bool:
    """Whether it starts with Re: in some language; list tags, warnings and forward marks before it are allowed."""
    return bool(_REPLY_PREFIX.match(_strip(clean_line(subject[:_CLIP]), (_TAG, _WARNING, _FORWARD_PREFIX))))


def reply_subject(subject: str) -> str:
    """`Re: ` once, in front of the subject without the marks of earlier replies."""
    return f"Re: {_strip(clean_line(subject), (_REPLY_PREFIX,))}".strip()


def forward_subject(subject: str) -> str:
    """`Fwd: ` once, in front of the subject without the marks of earlier forwards."""
    return f"Fwd: {_strip(clean_line(subject), (_FORWARD_PREFIX,))}".strip()


def base_subject(subject: str) -> str:
    """What two mails of one conversation have in common: no reply or forward marks, no list tags; case kept."""
    base = clean_line(subject[:_CLIP])
    for _ in range(10):
        before = base
        base = _TRAILER.sub("", base)
        base = _strip(base, (_REPLY_PREFIX, _FORWARD_PREFIX, _TAG, _WARNING))
        if wrapped := _WRAPPED.match(base):
            base = wrapped[1].strip()
        if base == before:
            break
    return base

"""What kind of mail this is, from its headers and, for bounces without a report, from how its text begins.

The kinds, in the order they are looked for. The first that holds decides, so a stronger sign stands before a weaker:

1. `bounce`: a delivery status report (RFC 3464), or the words of a mailer that writes none. First, because bounces
   say auto-replied too (RFC 3834 §5). A report of success alone is a notification.
2. Other reports (read receipts, complaints, TLS reports): `notification`.
3. `auto_reply`: a program's answer to a mail (RFC 3834): it says so, or says that it is automatic and reads so.
4. `invite`: something to put in a calendar or to answer there (iTIP, RFC 5546). Before all kinds of mass mail: the
   programs that send invitations mark them so.
5. `notification`: a program's mail about one event, such as auto-generated mail and what trackers and forges send.
   Before newsletters: it has List-Unsubscribe as they have.
6. `newsletter`: mail to many that nobody of them can answer to all (RFC 2369, RFC 8058, Precedence).
7. `notification` again, by the sender's address alone.
8. `human`: everything else, and mail of a discussion list (List-Post, RFC 2369 §3.4), which people write.

A subject is never a sign by itself: people write "Out of office" to people.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from daimon_mcp.mail.bounces import is_bounce_text, is_mailer, is_mailer_address
from daimon_mcp.mail.subjects import is_reply_subject

_ROBOT = re.compile(
    r"(?:[^@]{0,60}[-_.+])?(?:no[-_.]?repl(?:y|ies)|(?:do[-_.]?)?not[-_.]?reply|do[-_.]?not[-_.]?respond|no[-_.]?responder?"
    r"|nao[-_.]?responda|ne[-_.]?pas[-_.]?repondre|nicht[-_.]?antworten|keine[-_.]?antwort|non[-_.]?rispondere"
    r"|ingen[-_.]?svar|notifications?|notify|alerts?)(?:[-_.+@0-9]|\Z)"
    r"|(?:mailer|daemon|cron|root|robot|automat(?:ed|ic))(?:[-_+@]|\Z)",
    re.IGNORECASE,
)
# Senders that write about one person's events, though in bulk and with List-Unsubscribe.
_EVENTS = re.compile(r"(?:[^@]{0,60}[-_.+])?(?:notifications?|notify|alerts?)(?:[-_.+@0-9]|\Z)", re.IGNORECASE)
# What forges, trackers and help desks put into each mail, by how the names of their fields begin.
_EVENT_FIELDS = (
    "x-bugzilla-", "x-discourse-", "x-gerrit-", "x-github-", "x-gitlab-", "x-jira-", "x-launchpad-", "x-phabricator-",
    "x-redmine-", "x-sentry-", "x-servicenow-", "x-trac-", "x-pagerduty-", "x-amazon-mail-relay-type", "x-cron-env",
    "x-ms-exchange-generated-message-source", "x-mail-machine-generated",
)  # fmt: skip
# What services that send for many put into each mail; who has it and no way to unsubscribe writes about an event.
_CAMPAIGN_FIELDS = ("x-campaign", "x-mc-user", "x-csa-complaints", "x-mailchimp", "x-newsletter", "x-listmember")
_REPLY_FIELDS = (
    "x-autoreply", "x-autorespond", "x-autoresponse", "x-auto-reply-from", "x-autoreply-from", "x-mail-autoreply",
    "x-autoreply-domain", "x-vacation",
)  # fmt: skip
_REPLY_MAILER = re.compile(r"vacation|auto[-_ ]?(?:reply|respon)|out[-_ ]of[-_ ]office", re.IGNORECASE)
_AUTO_PRECEDENCE = frozenset({"auto_reply", "auto-reply", "autoreply"})
_BULK = frozenset({"bulk", "junk", "list"})
_CALENDAR = frozenset({"request", "add", "cancel", "counter", "declinecounter"})
_NO_FAILURE = frozenset({"delivered", "relayed", "expanded"})
# "This is automatic" and "I am away" as programs put them into subjects.
_AUTOMATIC = re.compile(
    r"\A(?:(?:re|aw|sv): )?auto(?:matic)?:|\bauto(?:matic|mated|matisches?|matisk)?[- ]?(?:reply|response|answer)"
    r"|\bauto(?:matische)?[- ]?antwort|\bauto[- ]?respon|automatische (?:antwort|beantwoording|reactie)"
    r"|automatisch (?:antwoord|bericht)|réponse automatique|respuesta autom|resposta autom|risposta automatica"
    r"|autosvar|automati(?:sk|skt) svar|automaattinen vastaus|autoodpowied|odpowiedź automatyczna"
    r"|automatyczna odpowied|automatická odpov|automatikus válasz|răspuns automat|автоматическ\w{1,3} ответ"
    r"|автоответ|автоматична відповідь|автовідпов|автоматичен отговор|αυτόματη απάντηση|otomatik (?:yanıt|cevap)"
    r"|automatski odgovor|samodejni odgovor|automaatvastus|automatinis atsakymas|automātiskā atbilde"
    r"|sjálfvirkt svar|自動(?:返信|応答|回覆)|自动(?:回复|答复)|자동 ?(?:응답|회신|답장)|رد تلقائي|الرد التلقائي"
    r"|پاسخ خودکار|תשובה אוטומטית|מענה אוטומטי|ตอบกลับอัตโนมัติ|trả lời tự động|balasan otomatis|jawapan automatik"
    r"|स्वचालित उत्तर",
    re.IGNORECASE,
)
_AWAY = re.compile(
    r"out of (?:the |my )?office|\booo\b|\bon (?:vacation|holidays?|annual leave|leave|parental leave)"
    r"|\bvacation\b|\baway (?:from|until|message)|currently (?:away|unavailable)|abwesenheit|\babwesend"
    r"|nicht im (?:büro|haus)|im urlaub|absence d[ue]|message d.absence|\babsente? d[ue]|en congés?\b"
    r"|fuera de (?:la |mi )?oficina|\bausen(?:te|cia)|de vacaciones|fora do escrit|\bausência|de férias"
    r"|fuori (?:sede|ufficio)|\bassente|in ferie|afwezig|niet aanwezig|frånvar|fravær|ikke på kontoret"
    r"|poissa(?:olo)?\b|poza biurem|nieobecn|mimo kancel|nepř[íi]tomn|neprítomn|házon kívül|absent din|вне офиса"
    r"|отсутств|в отпуске|поза офісом|извън офиса|εκτός γραφείου|ofis dışı|不在(?:通知|の|办公|辦公)|休暇|外出"
    r"|休假|부재중|خارج المكتب|מחוץ למשרד|ไม่อยู่ที่สำนักงาน|vắng mặt",
    re.IGNORECASE,
)


def _submitted(headers: Mapping[str, str]) -> str:
    """The keyword of Auto-Submitted, "" when there is none; comments and parameters may follow it (RFC 3834 §5)."""
    value = headers.get("auto-submitted") or headers.get("x-auto-submitted", "")
    return (value.lower().replace(";", " ").replace("(", " (").split() or [""])[0]


def _precedence(headers: Mapping[str, str]) -> str:
    """Precedence, or what some write for it by mistake."""
    return (headers.get("precedence") or headers.get("preference", "")).strip().lower()


def _null_path(headers: Mapping[str, str]) -> bool:
    return headers.get("return-path", "").replace(" ", "") == "<>"


def _says_reply(headers: Mapping[str, str]) -> bool:
    """Whether a field says that a program answers."""
    return (
        _submitted(headers) == "auto-replied"
        or _precedence(headers) in _AUTO_PRECEDENCE
        or any(headers.get(name, "no").strip().lower() not in {"no", "none", "false"} for name in _REPLY_FIELDS)
        or headers.get("x-autogenerated", "").strip().lower() == "reply"
        or headers.get("delivered-to", "").strip().lower() == "autoresponder"
        or "autorespond" in headers.get("x-post-messageclass", "").lower()
        or bool(_REPLY_MAILER.search(headers.get("x-mailer", "")[:200]))
    )


def is_automatic(headers: Mapping[str, str]) -> bool:
    """Whether a program sent it, so that nothing automatic should answer (RFC 3834 §2). Names in lower case.

    Also when the sender asks for no automatic answers (X-Auto-Response-Suppress).
    """
    suppress = headers.get("x-auto-response-suppress", "").lower()
    return (
        _submitted(headers) not in {"", "no"}
        or _precedence(headers) in _BULK
        or "list-id" in headers
        or "list-unsubscribe" in headers
        or _null_path(headers)
        or _says_reply(headers)
        or "x-autogenerated" in headers
        or "x-failed-recipients" in headers
        or any(word in suppress for word in ("all", "oof", "autoreply"))
    )


def kind_of(
    headers: Mapping[str, str],
    *,
    sender: str,
    content_type: str,
    report_type: str,
    calendar_methods: Sequence[str],
    text: str = "",
    actions: Collection[str] = (),
) -> str:
    """bounce, auto_reply, invite, newsletter, notification or human; a discussion list counts as human.

    `headers` by lower-case name, `sender` the address of From, `report_type` and `calendar_methods` in lower case,
    `text` the body (its beginning is enough), `actions` what a delivery report says of its recipients, if it is read.
    """
    if content_type == "multipart/report":
        if report_type not in {"delivery-status", ""} or (actions and _NO_FAILURE.issuperset(actions)):
            return "notification"
        return "bounce"
    if _is_plain_bounce(headers, sender, text):
        return "bounce"
    if _is_auto_reply(headers, sender):
        return "auto_reply"
    if any(method in _CALENDAR for method in calendar_methods):
        return "invite"
    if _is_event(headers, sender):
        return "notification"
    if _is_newsletter(headers):
        return "newsletter"
    if _ROBOT.match(sender) or is_mailer_address(sender) or _sent_by_service(headers):
        return "notification"
    return "human"


def _subject(headers: Mapping[str, str]) -> str:
    return headers.get("subject", "")[:300]


def _answers(headers: Mapping[str, str]) -> bool:
    return "in-reply-to" in headers or "references" in headers or is_reply_subject(_subject(headers))


def _is_plain_bounce(headers: Mapping[str, str], sender: str, text: str) -> bool:
    """A bounce that is no report. The null path of a mailer says it alone, unless the subject says away."""
    if "x-failed-recipients" in headers:
        return True
    if is_mailer(headers, sender) and is_bounce_text(text):
        return True
    subject = _subject(headers)
    away = _AUTOMATIC.search(subject) or _AWAY.search(subject)
    return _null_path(headers) and is_mailer_address(sender) and not away


def _is_auto_reply(headers: Mapping[str, str], sender: str) -> bool:
    """It says so itself, or it gives a weak sign and the subject says so; about absence only as an answer."""
    if _says_reply(headers):
        return True
    if "list-unsubscribe" in headers or "list-id" in headers or not _hints_program(headers, sender):
        return False
    subject = _subject(headers)
    if _AUTOMATIC.search(subject):
        return True
    null_path = _null_path(headers)
    answers = "in-reply-to" in headers or "references" in headers
    if _AWAY.search(subject):
        return null_path or answers
    return null_path and _answers(headers)  # nobody answers by hand from the null path


def _hints_program(headers: Mapping[str, str], sender: str) -> bool:
    """A sign of a program too weak to name the kind."""
    return (
        _null_path(headers)
        or _submitted(headers) not in {"", "no"}
        or _precedence(headers) in {"bulk", "junk"}
        or headers.get("x-auto-response-suppress", "none").strip().lower() != "none"
        or "x-ms-exchange-inbox-rules-loop" in headers
        or "x-autogenerated" in headers
        or bool(_ROBOT.match(sender))
    )


def _is_event(headers: Mapping[str, str], sender: str) -> bool:
    return (
        _submitted(headers) not in {"", "no"}
        or "x-autogenerated" in headers
        or bool(_EVENTS.match(sender))
        or any(name.startswith(_EVENT_FIELDS) for name in headers)
    )


def _is_newsletter(headers: Mapping[str, str]) -> bool:
    """Mass mail, unless it is of a list on which people talk: one that can be posted to, or an answer on any."""
    post = headers.get("list-post", "no").strip().lower()
    if not post.startswith("no") or "x-beenthere" in headers or "x-mailman-version" in headers:
        return False
    if "list-id" in headers and ("in-reply-to" in headers or "references" in headers):
        return False
    if "list-id" not in headers and "list-unsubscribe" not in headers and _answers(headers):
        return False
    return (
        _precedence(headers) in _BULK
        or "list-id" in headers
        or "list-unsubscribe" in headers
        or any(name.startswith(_CAMPAIGN_FIELDS) for name in headers)
    )


def _sent_by_service(headers: Mapping[str, str]) -> bool:
    """A service that sends for many (Feedback-ID) wrote it, and not as an answer: people write through such too."""
    return "feedback-id" in headers and not _answers(headers)

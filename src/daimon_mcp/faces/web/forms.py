"""Reading the form of the operator's page, and refusing what a browser on that page would not have sent."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

MAX_BODY = 16 * 1024
_MAX_FIELDS = 20
_SAME_SITE = {"same-origin", "none"}
_DECISIONS = {"approve": True, "always": True, "decline": False}


class FormRefused(Exception):
    """A request that cannot come from our form. `words` is the field of `page.problem` that says why."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True)
class Answer:
    """What the operator filled in, and what the form carried."""

    token: str
    form_token: str
    passcode: str
    approve: bool
    comment: str
    always: bool = False


async def read_answer(request: Request) -> Answer:
    """The form of a POST. Raises FormRefused: 403 from elsewhere, 415, 413 over 16 KiB, 400 for another form.

    Reads no more of the body than is allowed. Raises starlette's ClientDisconnect when the browser goes away.
    """
    _check_source(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise FormRefused(415, "not_a_form")
    body = await _read(request)
    try:
        pairs = parse_qsl(
            body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise FormRefused(400, "not_a_form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs) or fields.get("decision") not in _DECISIONS:
        raise FormRefused(400, "not_a_form")
    return Answer(
        token=fields.get("token", ""),
        form_token=fields.get("form_token", ""),
        passcode=fields.get("passcode", ""),
        approve=_DECISIONS[fields["decision"]],
        comment=fields.get("comment", ""),
        always=fields["decision"] == "always",
    )


def _check_source(request: Request) -> None:
    """Refuse what another site's page sends.

    Under our own `Referrer-Policy: no-referrer` a browser sends `Origin: null` (Fetch §3.2), so that says nothing; what
    holds where neither header tells is that no other site knows the form token or the passcode.
    """
    if request.headers.get("sec-fetch-site", "none") not in _SAME_SITE:
        raise FormRefused(403, "cross_site")
    origin = request.headers.get("origin", "null")
    if origin == "null":
        return
    try:
        from_host = urlsplit(origin).netloc.lower()
    except ValueError:
        from_host = ""
    if not from_host or from_host != request.headers.get("host", "").lower():
        raise FormRefused(403, "cross_site")


async def _read(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY:
        raise FormRefused(413, "too_large")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise FormRefused(413, "too_large")
    return bytes(body)

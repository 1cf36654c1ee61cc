"""Reply lines: every refusal has one, and each is well formed."""

from __future__ import annotations

import re

import pytest

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.faces.smtp import replies

LINES = {
    **{name: value for name, value in vars(replies).items() if name.isupper() and isinstance(value, str)},
    **{str(code): line for code, line in replies.REFUSALS.items()},
    **{f"{code} {reason}": line for (code, reason), line in replies.REASONS.items()},
}


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_has_a_reply(code: RefusalCode) -> None:
    line = replies.refusal(Refused(code), "c1d")
    assert line[0] in "45"
    assert line.endswith(", id c1d") == (line[0] == "4")


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_reply_has_a_code_a_status_of_the_same_class_and_words(line: str) -> None:
    if line.startswith("354 "):  # RFC 2034 §4: 3xx has no enhanced status
        return
    found = re.fullmatch(r"([245])\d\d ([245])\.\d\.\d{1,2} [ -~]{2,100}", line)
    assert found is not None
    assert found[1] == found[2]


@pytest.mark.parametrize(
    ("refused", "line"),
    [
        (Refused(RefusalCode.INBOX_NOT_FOUND), "550 5.1.1 No such inbox here"),
        (Refused(RefusalCode.RECIPIENT_REFUSED, reason="RELAY_DENIED"), "550 5.7.1 Relay access denied"),
        (Refused(RefusalCode.RECIPIENT_REFUSED, reason="ANYTHING_ELSE"), "550 5.7.1 Recipient refused"),
        (Refused(RefusalCode.INTERNAL), "451 4.3.0 Internal error, id c1d"),
        (Refused(RefusalCode.STORE_UNAVAILABLE), "452 4.3.1 Cannot store mail now, try again later, id c1d"),
        (Refused(RefusalCode.SEND_LIMIT_EXCEEDED, reason="MONTHLY_SEND_QUOTA"), "550 5.7.26 Send limit reached"),
    ],
)
def test_replies_that_others_count_on(refused: Refused, line: str) -> None:
    assert replies.refusal(refused, "c1d") == line

"""What MAIL and RCPT build, and DATA hands over (RFC 5321 §3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from daimon_mcp.domain.envelopes import Envelope, Recipient


@dataclass(slots=True)
class Transaction:
    """What MAIL and RCPT have said so far."""

    mail_from: str
    options: tuple[str, ...] = ()  # the words behind the reverse-path, as given
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    recipients: dict[str, Recipient] = field(default_factory=dict[str, Recipient])
    welcomed: int = 0  # RCPT commands that were answered 250, one address named twice among them
    refused_some: bool = False

    @property
    def smtputf8(self) -> bool:
        """Whether addresses may be outside ASCII."""
        return "SMTPUTF8" in self.parameters

    def envelope(self) -> Envelope:
        """As the core takes it."""
        recipients = tuple(self.recipients.values())
        has_wishes = any(recipient.notify or recipient.orcpt for recipient in recipients)
        ret = self.parameters.get("RET")
        return Envelope(
            mail_from=self.mail_from,
            rcpt_to=tuple(self.recipients),
            recipients=recipients if has_wishes else (),
            ret=ret.upper() if ret else None,
            envid=self.parameters.get("ENVID"),
        )

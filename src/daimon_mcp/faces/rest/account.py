"""Routes about the account."""

from __future__ import annotations

from typing import Any

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, Nothing, RestRoute, Result
from daimon_mcp.faces.rest.shapes.account import Account, Capabilities, SmtpCredentials, Upgrade
from daimon_mcp.operations.upgrades import WaitForUpgrade

_UNLOCK = "POST /v1/upgrade-link"


def _unlocked(result: Result) -> Result:
    cannot: list[dict[str, Any]] = [
        {**each, "unlock": _UNLOCK} if "unlock" in each else each for each in result["cannot"]
    ]
    return {**result, "cannot": cannot}


ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path="/v1/account",
        operation="get_account",
        tag="Account",
        summary="The account's tier, limits, usage, and figures so far",
        request=Nothing,
        result=Account,
        run=lambda call: call.operations.figures.describe_account(call.actor),
    ),
    RestRoute(
        method="GET",
        path="/v1/capabilities",
        operation="get_capabilities",
        tag="Account",
        summary="What the account can and cannot do now, and what would change that",
        request=Nothing,
        result=Capabilities,
        shape=_unlocked,
        run=lambda call: call.operations.accounts.get_capabilities(call.actor),
    ),
    RestRoute(
        method="GET",
        path="/v1/account/smtp",
        operation="get_smtp_credentials",
        tag="Account",
        summary="Where mail programs log in, and with what",
        request=Nothing,
        result=SmtpCredentials,
        refuses=(RefusalCode.SMTP_REQUIRES_PAID,),
        run=lambda call: call.operations.accounts.get_smtp_credentials(call.actor),
    ),
    RestRoute(
        method="POST",
        path="/v1/account/smtp/rotate",
        operation="rotate_smtp_password",
        tag="Account",
        summary="Make a new SMTP password; the old one stops working at once",
        request=Nothing,
        result=SmtpCredentials,
        refuses=(RefusalCode.SMTP_REQUIRES_PAID,),
        run=lambda call: call.operations.accounts.rotate_smtp_password(call.actor),
    ),
    RestRoute(
        method="GET",
        path="/v1/account/upgrade/wait",
        operation="wait_for_upgrade",
        tag="Account",
        summary="Wait until the operator has decided about the tier, up to 300 seconds",
        request=WaitForUpgrade,
        result=Upgrade,
        waits=True,
        run=lambda call: call.operations.upgrades.wait_for_upgrade(call.actor, call.request),
    ),
)

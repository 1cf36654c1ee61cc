"""The operator's page about a held email: what it shows of it, and what each button does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.faces.web.test_operator_page import filled, words_of

from daimon_mcp.domain.tiers import Tier
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.operations.lists import ChangeList
from daimon_mcp.operations.messages import GetMessage
from daimon_mcp.operations.oversight import SetOversight
from daimon_mcp.operations.sending import SendEmail

if TYPE_CHECKING:
    from tests.faces.web.conftest import Office

OTHER = "calm-dove@agents.localhost"
ATTACK = "<script>alert(1)</script>\u202eevil"


@pytest.fixture
async def gated(office: Office) -> Office:
    operations = office.operations
    await operations.upgrades.set_tier(office.actor.account_id, Tier.PRO)
    await operations.inboxes.create_inbox(office.actor, CreateInbox(username="calm-dove"))
    await operations.oversight.set_oversight(SetOversight(inbox=office.address, oversight="gated_new"), by="cli")
    return office


@pytest.fixture
async def client(gated: Office) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gated.app), base_url="http://mail.example") as client:
        yield client


async def held(office: Office, **more: Any) -> tuple[str, str]:
    """Mail that waits: its id, and the path of its page."""
    wanted: dict[str, Any] = {"inbox": office.address, "to": OTHER, "subject": "Offer", "body": "Dear dove", **more}
    outcome = await office.operations.sending.send_email(office.actor, SendEmail(**wanted))
    assert outcome.link is not None
    return outcome.result["id"], office.path_of(outcome.link.url)


async def status(office: Office, message_id: str) -> str:
    request = GetMessage(message_id=message_id)
    return (await office.operations.messages.get_message(office.actor, request)).result["delivery_status"]


async def test_a_person_sees_the_email_why_it_is_held_and_what_for(gated: Office, client: httpx2.AsyncClient) -> None:
    _, path = await held(
        gated, reason="to win a customer", subject=f"Offer {ATTACK}", body=f"Dear dove, {ATTACK}",
        attachments=[{"filename": "price.txt", "content": "aGk="}],
    )  # fmt: skip
    page = (await client.get(path)).text
    words = words_of(page)
    assert "Let this email leave?" in words
    assert "It goes to an address this inbox has never written to or heard from." in words
    assert f"To {OTHER} new" in words
    assert "Offer <script>alert(1)</script>evil" in words
    assert "Dear dove, <script>alert(1)</script>evil" in words
    assert "price.txt (2 B)" in words
    assert "to win a customer The agent’s own words." in words
    assert "<script" not in page
    assert "\u202e" not in page
    assert "Approve, and always allow these recipients" in words


async def test_secrets_are_told_by_kind_and_place(gated: Office, client: httpx2.AsyncClient) -> None:
    _, path = await held(gated, to=gated.address, body="Key " + "AKIA" + "IOSFODNN7" + "EXAMPLE")
    words = words_of((await client.get(path)).text)
    assert "It seems to hold something secret: aws access key, in the text" in words


@pytest.mark.parametrize(
    ("decision", "said", "after"),
    [
        ("approve", "Approved The email leaves now, as far as the limits allow.", "pending_approval"),
        ("always", "Its recipients are known to this inbox from now on.", "delivered"),
        ("decline", "Declined The email is not sent. The agent can see your note.", "pending_approval"),
    ],
)
async def test_what_a_button_does(
    gated: Office, client: httpx2.AsyncClient, decision: str, said: str, after: str
) -> None:
    message_id, path = await held(gated)
    fields = await filled(client, path, gated.passcode, decision=decision, comment="Seen")
    page = await client.post("/approve", data=fields)
    assert said in words_of(page.text)
    await gated.operations.releasing.release_parked(gated.actor.account_no)
    assert await status(gated, message_id) == ("rejected" if decision == "decline" else "delivered")
    if decision != "approve":  # what has left is known anyway
        again = await gated.operations.sending.send_email(
            gated.actor, SendEmail(inbox=gated.address, to=OTHER, subject="Again", body="x")
        )
        assert again.result["status"] == after
    assert (await client.post("/approve", data=fields)).status_code == 410


async def test_mail_that_cannot_leave_is_not_approved(gated: Office, client: httpx2.AsyncClient) -> None:
    message_id, path = await held(gated)
    block = ChangeList(list="block", direction="send", entries=[OTHER])
    await gated.operations.lists.add_to_list(gated.actor, block)
    answer = await client.post("/approve", data=await filled(client, path, gated.passcode))
    assert answer.status_code == 409
    assert "This email cannot leave now" in words_of(answer.text)
    assert await status(gated, message_id) == "pending_approval"
    assert (await client.get(path)).status_code == 200


async def test_looking_at_held_mail_needs_no_passcode_and_deciding_does(
    gated: Office, client: httpx2.AsyncClient
) -> None:
    message_id, path = await held(gated)
    answer = await client.post("/approve", data=await filled(client, path, "not-the-passcode", decision="always"))
    assert answer.status_code == 403
    assert "Dear dove" in words_of(answer.text)
    assert await status(gated, message_id) == "pending_approval"

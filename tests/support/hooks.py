"""Short ways to webhooks and events in tests."""

from __future__ import annotations

from typing import Any

from tests.support.daimon import Daimon

from daimon_mcp.domain.accounts import Actor
from daimon_mcp.operations.events import AcknowledgeEvents, ListEvents
from daimon_mcp.operations.hook_deliveries import GetWebhookDelivery, ListWebhookDeliveries, ReplayWebhook
from daimon_mcp.operations.requests import read
from daimon_mcp.operations.webhooks import (
    CreateWebhook,
    DeleteWebhook,
    GetWebhook,
    ListWebhooks,
    RotateWebhookSecret,
    TryWebhook,
    UpdateWebhook,
)
from daimon_mcp.store import events

ELSEWHERE = "https://hooks.example.com/mail"


class Hooks:
    """The verbs of webhooks and events for one actor; each gives the result, and raises Refused."""

    def __init__(self, daimon: Daimon, actor: Actor) -> None:
        self.daimon = daimon
        self.actor = actor

    async def create(self, url: str = ELSEWHERE, *names: str, **more: Any) -> dict[str, Any]:
        request = read(CreateWebhook, {"url": url, "events": list(names) or ["*"], **more})
        return (await self.daimon.operations.webhooks.create_webhook(self.actor, request)).result

    async def list(self, **more: Any) -> list[dict[str, Any]]:
        outcome = await self.daimon.operations.webhooks.list_webhooks(self.actor, read(ListWebhooks, more))
        return outcome.result["webhooks"]

    async def get(self, webhook_id: str) -> dict[str, Any]:
        request = read(GetWebhook, {"webhook_id": webhook_id})
        return (await self.daimon.operations.webhooks.get_webhook(self.actor, request)).result

    async def update(self, webhook_id: str, **more: Any) -> dict[str, Any]:
        request = read(UpdateWebhook, {"webhook_id": webhook_id, **more})
        return (await self.daimon.operations.webhooks.update_webhook(self.actor, request)).result

    async def delete(self, webhook_id: str) -> dict[str, Any]:
        request = read(DeleteWebhook, {"webhook_id": webhook_id})
        return (await self.daimon.operations.webhooks.delete_webhook(self.actor, request)).result

    async def rotate(self, webhook_id: str, **more: Any) -> dict[str, Any]:
        request = read(RotateWebhookSecret, {"webhook_id": webhook_id, **more})
        return (await self.daimon.operations.webhooks.rotate_secret(self.actor, request)).result

    async def test(self, webhook_id: str) -> dict[str, Any]:
        request = read(TryWebhook, {"webhook_id": webhook_id})
        return (await self.daimon.operations.webhooks.test_webhook(self.actor, request)).result

    async def deliveries(self, webhook_id: str, **more: Any) -> list[dict[str, Any]]:
        request = read(ListWebhookDeliveries, {"webhook_id": webhook_id, **more})
        return (await self.daimon.operations.hook_deliveries.list_deliveries(self.actor, request)).result["deliveries"]

    async def delivery(self, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        request = read(GetWebhookDelivery, {"webhook_id": webhook_id, "delivery_id": delivery_id})
        return (await self.daimon.operations.hook_deliveries.get_delivery(self.actor, request)).result

    async def replay(self, webhook_id: str, **more: Any) -> int:
        request = read(ReplayWebhook, {"webhook_id": webhook_id, **more})
        return (await self.daimon.operations.hook_deliveries.replay(self.actor, request)).result["replayed"]

    async def events(self, **more: Any) -> dict[str, Any]:
        return (await self.daimon.operations.events.list_events(self.actor, read(ListEvents, more))).result

    async def names(self, **more: Any) -> list[str]:
        return [each["event"] for each in (await self.events(**more))["events"]]

    async def acknowledge(self, consumer: str, cursor: str) -> dict[str, Any]:
        request = read(AcknowledgeEvents, {"consumer": consumer, "cursor": cursor})
        return (await self.daimon.operations.events.acknowledge(self.actor, request)).result

    async def record(self, *names: str, inbox_no: int | None = None, **payload: Any) -> None:
        """Put events down as operations do, in one transaction each."""
        now = self.daimon.operations.core.clock.now()
        for name in names:
            await self.daimon.operations.core.database.write(
                lambda tx, name=name: events.record(
                    tx, name, account_no=self.actor.account_no, inbox_no=inbox_no, now=now, payload=payload
                )
            )

"""Routes for API keys."""

from __future__ import annotations

from daimon_mcp.domain.refusals import RefusalCode
from daimon_mcp.faces.rest.route import AnyRoute, Nothing, RestRoute
from daimon_mcp.faces.rest.shapes.keys import CreatedKey, Key, KeyList, RevokedKey, RotatedKey
from daimon_mcp.operations.keys import CreateKey, GetKey, RevokeKey, RotateKey

ROUTES: tuple[AnyRoute, ...] = (
    RestRoute(
        method="GET",
        path="/v1/keys",
        operation="list_keys",
        tag="Keys",
        summary="List the account's keys, without the keys themselves",
        request=Nothing,
        result=KeyList,
        run=lambda call: call.operations.keys.list_keys(call.actor),
    ),
    RestRoute(
        method="GET",
        path="/v1/keys/{key_id}",
        operation="get_key",
        tag="Keys",
        summary="Show one key, without the key itself",
        request=GetKey,
        result=Key,
        refuses=(RefusalCode.KEY_NOT_FOUND,),
        run=lambda call: call.operations.keys.get_key(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path="/v1/keys/{key_id}/rotate",
        operation="rotate_key",
        tag="Keys",
        summary="Make a new key in the place of an old one, which works on for a while",
        request=RotateKey,
        result=RotatedKey,
        refuses=(RefusalCode.KEY_NOT_FOUND,),
        run=lambda call: call.operations.keys.rotate_key(call.actor, call.request),
    ),
    RestRoute(
        method="POST",
        path="/v1/keys",
        operation="create_key",
        tag="Keys",
        summary="Make a further key; it is shown here and never again",
        request=CreateKey,
        result=CreatedKey,
        refuses=(RefusalCode.INBOX_NOT_FOUND,),
        run=lambda call: call.operations.keys.create_key(call.actor, call.request),
    ),
    RestRoute(
        method="DELETE",
        path="/v1/keys/{key_id}",
        operation="revoke_key",
        tag="Keys",
        summary="End a key at once",
        request=RevokeKey,
        result=RevokedKey,
        refuses=(RefusalCode.KEY_NOT_FOUND,),
        run=lambda call: call.operations.keys.revoke_key(call.actor, call.request),
    ),
)

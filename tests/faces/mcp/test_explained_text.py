"""The story of a message in text: what is ours and what is another's."""

from __future__ import annotations

from daimon_mcp.faces.mcp.explained import told


def test_what_is_known_of_a_sender() -> None:
    story = told(
        {
            "direction": "inbound",
            "from_address": "eve@evil.example",
            "authentication": {
                "spf": "fail",
                "dkim_domains": ["a.example", "b.example"],
                "arc": None,
                "verdict": "fail",
            },
            "trace": ["from evil.example"],
            "explanation": "It failed.",
            "what_to_do": ["Leave it."],
            "for_operator": [],
            "timeline": [
                {"at": "2026-11-10T12:00:00Z", "what": "received"},
                {"at": "2026-11-10T12:00:00Z", "what": "authenticated", "verdict": "fail"},
                {"at": "2026-11-10T12:00:00Z", "what": "held", "why": "failed_dmarc"},
            ],
        }
    )
    assert story.ours == [
        "Held: It failed.",
        "  Do: Leave it.",
        "2026-11-10T12:00:00Z received",
        "2026-11-10T12:00:00Z authenticated: fail",
        "2026-11-10T12:00:00Z held: failed_dmarc",
    ]
    assert story.theirs == [
        "From: eve@evil.example",
        "Authentication, spf: fail",
        "Authentication, dkim_domains: a.example, b.example",
        "Authentication, verdict: fail",
        "Received: from evil.example",
    ]

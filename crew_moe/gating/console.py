"""Questions as lines of text, for whoever watches a program run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crew_moe.domain.approval import Approval

SHOWN_CHARS: Final = 10  # of an id: enough to type, and to be the only one


class Console:
    """Implements gating.approval.Approver: `write` gets one line per question, with the way to answer it."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def asked(self, approval: Approval) -> None:
        """Write the question."""
        who = f" ({' or '.join(approval.roles)})" if approval.roles else ""
        until = f"{approval.expires_at:%H:%M:%S} UTC"
        short = approval.id[:SHOWN_CHARS]
        self._write(f"approval needed{who}: {approval.summary}; until {until}: crew-moe approve {short}")

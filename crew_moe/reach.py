"""Where experts are reached, and with which key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from crew_moe.domain.address import BaseUrl
from crew_moe.domain.expert import Expert, Transport
from crew_moe.settings import api_key, base_url, has_credentials

if TYPE_CHECKING:
    from crew_moe.execution.transports import Transports


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """`elsewhere` stands in for all remote providers, and takes no key; None: they are reached where they are."""

    elsewhere: BaseUrl | None

    @classmethod
    def read(cls, base_url: str | Mapping[str, str] | None) -> Self:
        """One address for all remote experts, or one by provider. Raises InvalidInput."""
        return cls(elsewhere=BaseUrl.read(base_url))

    def lacks_key(self, expert: Expert) -> bool:
        """Whether the expert can't be called for want of its key."""
        return self.elsewhere is None and not has_credentials(expert)

    def url(self, expert: Expert) -> str | None:
        if self.elsewhere is None or expert.is_local:
            return base_url(expert)
        return self.elsewhere.of(expert.provider)

    def key(self, expert: Expert) -> str | None:
        return api_key(expert) if self.elsewhere is None or expert.is_local else None

    def transports(self) -> Transports:
        """Clients for every transport that this package speaks itself."""
        from crew_moe.execution.client import OpenAIClient
        from crew_moe.execution.transports import Transports

        return Transports({Transport.OPENAI: OpenAIClient(base_url_for=self.url, key_for=self.key)})

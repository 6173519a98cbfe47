"""Where remote experts are reached, when that is not where the catalogue says; and what an address is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit


class BaseUrl(str):
    """One address for all remote experts, and for some providers one of their own.

    It is a string, so that every HTTP client takes it; who knows of providers asks `of`.

    >>> BaseUrl("http://127.0.0.1:9000/v1", {"openai": "http://127.0.0.1:9001/v1"}).of("openai")
    'http://127.0.0.1:9001/v1'
    """

    by_provider: Mapping[str, str]

    def __new__(cls, url: str = "", by_provider: Mapping[str, str] | None = None) -> Self:
        made = super().__new__(cls, url)
        made.by_provider = dict(by_provider or {})
        return made

    @classmethod
    def read(cls, given: str | Mapping[str, str] | None) -> BaseUrl | None:
        """The address that was given in one of the forms in which people give it."""
        if given is None or isinstance(given, BaseUrl):
            return given
        return cls(given) if isinstance(given, str) else cls("", given)

    def of(self, provider: str) -> str | None:
        """The address of a provider; None where there is none for it."""
        return self.by_provider.get(provider) or str(self) or None


def is_web_address(url: str) -> bool:
    """Whether it begins with http:// or https:// and names a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

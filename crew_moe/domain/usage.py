"""Usage: the tokens of one call, as its provider counted them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call, or of several.

    Read from a cache, written to it, audio and images are parts of the input; reasoning and audio are parts of the
    output; no token is in two parts. `batch` calls were served at the provider's leisure, at its lower price.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    batch: bool = False

    def __add__(self, other: Usage) -> Usage:
        """The tokens of both; the sum is no bill, for each call has its own price."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Usage(**counts, batch=self.batch or other.batch)


_COUNTS: Final = tuple(name for name in Usage.__slots__ if name != "batch")

"""What a call may cost before it is made, and what it did cost when the provider does not say.

The bound counts one token per UTF-8 byte of the JSON that is sent, which no byte-level tokenizer exceeds; the names and
quotes of the JSON make up for the tokens that providers put around messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crew_moe.domain.chat import ChatReply, ChatRequest
from crew_moe.domain.expert import Expert
from crew_moe.domain.usage import Usage

BYTES_PER_TOKEN: Final = 4
IMAGE_TOKENS: Final = 1_000
"""About what most providers count for one image."""
MAX_IMAGE_TOKENS: Final = 50_000
"""No provider counts more for one image: gpt-4o-mini in high detail takes 2,833 + 8 tiles x 5,667 = 48,169."""
_IMAGES: Final = frozenset({"image_url", "input_image", "image"})
_AUDIO: Final = frozenset({"input_audio", "audio"})


@dataclass(frozen=True, slots=True)
class Size:
    """How much a request sends: bytes of JSON (images left out), images, and whether there is audio, sent or wanted."""

    bytes: int
    images: int
    audio: bool = False

    @property
    def bound(self) -> int:
        """No fewer tokens than any provider will count."""
        return self.bytes + self.images * MAX_IMAGE_TOKENS

    @property
    def estimate(self) -> int:
        """About as many tokens as it has."""
        return -(-self.bytes // BYTES_PER_TOKEN) + self.images * IMAGE_TOKENS


def size_of(request: ChatRequest) -> Size:
    parts = [part for message in request.messages for part in _parts(message)]
    messages = [{**message, "content": _without_images(message)} for message in request.messages]
    sent = (messages, request.tools, request.response_format, request.extra)
    return Size(
        bytes=sum(map(_json_bytes, filter(None, sent))),
        images=sum(_is_of(_IMAGES, part) for part in parts),
        audio=any(_is_of(_AUDIO, part) for part in parts) or "audio" in (request.extra.get("modalities") or ()),
    )


def worst_nano(expert: Expert, size: Size, output_tokens: int) -> int:
    """The most that a call of this size may cost with an answer of `output_tokens`, in nano-USD."""
    return expert.worst_nano(size.bound, output_tokens, audio=size.audio, images=size.images > 0)


def estimated_usage(size: Size, reply: ChatReply) -> Usage:
    """About as many tokens as a call took whose provider told none."""
    return Usage(input_tokens=size.estimate, output_tokens=-(-output_bound(reply) // BYTES_PER_TOKEN))


def output_bound(reply: ChatReply) -> int:
    """No fewer tokens than the answer has."""
    return len(reply.text.encode("utf-8", "replace")) + (_json_bytes(reply.tool_calls) if reply.tool_calls else 0)


def _json_bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def _without_images(message: Mapping[str, Any]) -> object:
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return content  # what is no text and no parts goes out as text
    return [part for part in content if not _is_of(_IMAGES, part)] or None


def _parts(message: Mapping[str, Any]) -> Sequence[object]:
    content = message.get("content")
    return content if isinstance(content, list | tuple) else ()


def _is_of(kinds: frozenset[str], part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in kinds

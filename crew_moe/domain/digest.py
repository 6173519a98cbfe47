"""The package's hash: BLAKE2b, keyed where a digest must not be guessed (RFC 7693).

It is taken from the interpreter itself. hashlib offers the same function, but loading hashlib brings OpenSSL along, and
with it as much memory as the whole decision log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

try:
    from _blake2 import blake2b
except ImportError:  # an interpreter that keeps it elsewhere
    from hashlib import blake2b

MAX_KEY_BYTES: Final = 64


def digest(text: str, *, key: bytes = b"", size: int = 16) -> bytes:
    """`size` bytes that name this text; lone surrogates are hashed as they are."""
    return blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=size).digest()


def checksum(data: bytes) -> str:
    """What a file's content is known by: 32 hex digits."""
    return digest(data.decode("latin-1")).hex()  # one character per byte


def canonical(document: Mapping[str, Any]) -> bytes:
    """A JSON document in the one form that its checksum is taken of."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

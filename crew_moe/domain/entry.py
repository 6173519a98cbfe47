"""Where data enters: models whose errors are one clear sentence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from crew_moe.domain.complaint import complaint
from crew_moe.errors import InvalidRequest


class Entry(BaseModel):
    """Base of what callers hand over. Raises InvalidRequest, which names the field, what is allowed and the closest
    match.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            what, where, value, allowed = complaint(error, type(self))
        else:
            return
        raise InvalidRequest(what, where=where, value=value, allowed=allowed)

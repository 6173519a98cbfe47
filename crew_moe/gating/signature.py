"""What YAML may give to a maker of checks: read from its signature, so that every check documents itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from types import GenericAlias
from typing import Annotated, Any, Final, Self, Unpack, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema, create_model

from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import Ruling
from crew_moe.errors import InvalidInput
from crew_moe.gating.catalogue import Maker
from crew_moe.gating.checks import CheckOptions
from crew_moe.gating.consequence import DENY, Otherwise, downgrade, hold
from crew_moe.gating.names import plain_name

WAYS: Final = ("deny", "hold", "downgrade", "a mapping {downgrade: TIER} or {hold: [ROLES]}")
_WAYS_SCHEMA: Final = {
    "anyOf": [
        {"enum": [Ruling.DENY.value, Ruling.HOLD.value, Ruling.DOWNGRADE.value]},
        {
            "type": "object",
            "properties": {
                "downgrade": {"enum": [tier.value for tier in Tier]},
                "hold": {"type": "array", "items": {"type": "string"}},
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ]
}
_STRICT: Final = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The arguments of a maker as a model; `rest` is the one that it takes as *arguments, if it does."""

    model: type[BaseModel]
    rest: str | None

    @classmethod
    def of(cls, maker: Maker) -> Self:
        """Raises whatever the annotations of somebody else's maker lead to."""
        hints = get_type_hints(maker, include_extras=True)
        fields: dict[str, Any] = {}
        rest = None
        for name, parameter in signature(maker).parameters.items():
            hint = hints.get(name, Any)
            if parameter.kind is Parameter.VAR_POSITIONAL:
                rest = name
                fields[name] = (GenericAlias(list, (hint,)), ...)
            elif parameter.kind is Parameter.VAR_KEYWORD:
                fields |= {option: (_OPTIONS[option], None) for option in _options(hint)}
            else:
                fields[name] = (hint, ... if parameter.default is Parameter.empty else parameter.default)
        return cls(model=create_model(maker.__name__, __config__=_STRICT, **fields), rest=rest)

    @property
    def first(self) -> str | None:
        """The argument that a value stands for which has no name."""
        return self.rest or next((name for name in self.model.model_fields if name not in _OPTIONS), None)

    def spelled_out(self, given: Any) -> dict[str, Any]:
        """`name: value` means the first argument; a list means *arguments."""
        if given is None:
            return {}
        if self.first is None:
            raise InvalidInput("takes a mapping", allowed=sorted(self.model.model_fields))
        return {self.first: given if self.first != self.rest or isinstance(given, list) else [given]}


def _options(hint: Any) -> tuple[str, ...]:
    """The names in `**options: Unpack[...]`."""
    table = get_args(hint)[0] if get_origin(hint) is Unpack else CheckOptions
    return tuple(name for name in _OPTIONS if name in get_type_hints(table))


def _otherwise(given: object) -> Otherwise:
    """`deny`, `hold`, `downgrade`, `{downgrade: TIER}`, `{hold: [ROLES]}`."""
    if isinstance(given, Otherwise):
        return given
    way, detail = next(iter(given.items())) if isinstance(given, Mapping) and len(given) == 1 else (given, None)
    match way:
        case Ruling.DENY if detail is None:
            return DENY
        case Ruling.DOWNGRADE:
            return downgrade(detail)
        case Ruling.HOLD if detail is None or isinstance(detail, list):
            return hold(*(plain_name(role, where="hold") for role in detail or ()))
    raise InvalidInput("is no consequence of a check", value=way, allowed=WAYS)


_OPTIONS: Final[Mapping[str, Any]] = {
    "otherwise": Annotated[Any, BeforeValidator(_otherwise), WithJsonSchema(_WAYS_SCHEMA)],
    "name": str | None,
    "reason": str | None,
    "for_all": bool | None,
    "lasting": bool | None,
}

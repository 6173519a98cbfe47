"""The `gate:` section of policy.yaml: what it may hold, and the gate that it describes.

gate:
  above: baseline
  checks:
    - has_any_role: [lead, admin]
    - cooldown: {rate: 5, per_s: 60, bucket: user}
    - budget_left: {fraction: 0.2, otherwise: {downgrade: baseline}}
    - needs_approval: {tier: premium, roles: [admin]}
  on_hold_timeout: downgrade
  approval: {ttl_s: 900, roles: [admin]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from types import GenericAlias
from typing import Annotated, Any, Final, Unpack, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from crew_moe.domain.complaint import complaint
from crew_moe.domain.expert import Tier
from crew_moe.domain.verdict import Ruling
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.gating.approval import Approver, Desk
from crew_moe.gating.catalogue import Maker, find
from crew_moe.gating.checks import CheckOptions
from crew_moe.gating.consequence import DENY, OnHoldTimeout, Otherwise, downgrade, hold
from crew_moe.gating.gate import Check, Gate, Metered
from crew_moe.gating.gatekeeper import Gatekeeper
from crew_moe.gating.names import MAX_NAME_CHARS, plain_name
from crew_moe.ports import Approvals, Clock, DecisionLog, EventSink, Meters

FILE: Final = "policy.yaml"
SECTION: Final = "gate"
MAX_CHECKS: Final = 100
WAYS: Final = ("deny", "hold", "downgrade", "a mapping {downgrade: TIER} or {hold: [ROLES]}")

Role = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ApprovalEntry(_Entry):
    """How long a question stands, and who may answer where a check names no roles (nobody named: everybody else)."""

    ttl_s: Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)] = 900.0
    roles: list[Role] = []


class GateEntry(_Entry):
    """The whole section. `checks` are read by `build_gate`, for what each takes is known by the check alone."""

    above: Tier = Tier.BASELINE
    checks: Annotated[list[Any], Field(max_length=MAX_CHECKS)] = []
    on_hold_timeout: OnHoldTimeout = OnHoldTimeout.DOWNGRADE
    approval: ApprovalEntry = ApprovalEntry()


def read_gate(section: Mapping[str, Any], *, file: str = FILE) -> GateEntry:
    """The section as it stands in a file. Raises ConfigError, which names the key."""
    try:
        return GateEntry.model_validate(section)
    except ValidationError as error:
        what, key, value, allowed = complaint(error, GateEntry)
    raise ConfigError(what, file=file, key=f"{SECTION}.{key}" if key else SECTION, value=value, allowed=allowed)


def build_gate(config: GateEntry | Mapping[str, Any], *, file: str = FILE) -> Gate:
    """The gate that a section describes. Raises ConfigError, which names the check, what is allowed and what is near.

    >>> gate = build_gate({"checks": [{"has_any_role": ["lead"]}, "guild_only", {"needs_approval": "premium"}]})
    >>> [check.name for check in gate.checks]
    ['task_approval', 'has_any_role', 'guild_only', 'needs_approval']
    """
    entry = config if isinstance(config, GateEntry) else read_gate(config, file=file)
    place, made = SECTION, []
    try:
        approvers = [plain_name(role, where="approval.roles") for role in entry.approval.roles]
        for index, item in enumerate(entry.checks):
            place = f"{SECTION}.checks.{index}"
            made.append(_check(item))
        place = SECTION
        return Gate(made, above=entry.above, approvers=approvers)
    except InvalidInput as error:
        wrong = error
    key = f"{place}.{wrong.where}" if wrong.where else place
    raise ConfigError(wrong.what, file=file, key=key, value=wrong.closest, allowed=wrong.allowed)


def build_gatekeeper(
    config: GateEntry | Mapping[str, Any],
    *,
    meters: Meters,
    approvals: Approvals,
    clock: Clock,
    log: DecisionLog,
    sink: EventSink,
    approvers: Iterable[Approver] = (),
    file: str = FILE,
) -> Gatekeeper:
    """The gate of a section with its desk, over these stores. Raises ConfigError."""
    entry = config if isinstance(config, GateEntry) else read_gate(config, file=file)
    desk = Desk(approvals, clock=clock, log=log, sink=sink, ttl_s=entry.approval.ttl_s, approvers=approvers)
    return Gatekeeper(
        build_gate(entry, file=file),
        meters=meters,
        desk=desk,
        clock=clock,
        sink=sink,
        on_hold_timeout=entry.on_hold_timeout,
    )


def _check(item: object) -> Check | Metered:
    """One entry of the list: a name, or a name with what the check takes."""
    if isinstance(item, str):
        return _made(item, {})
    if not isinstance(item, Mapping) or len(item) != 1:
        raise InvalidInput("an entry names one check", allowed=("NAME", "NAME: ARGUMENTS"))
    name, given = next(iter(item.items()))
    return _made(str(name), given)


def _made(name: str, given: Any) -> Check | Metered:
    maker = find(name)
    if isinstance(maker, Check | Metered):
        if given not in (None, {}):
            raise InvalidInput("this check takes no arguments", where=name)
        return maker
    try:
        model, rest = _arguments(maker)
    except Exception as error:  # noqa: BLE001 - the annotations may be somebody else's, and lead anywhere
        problem = type(error).__name__
    else:
        return _called(name, maker, _read(name, model, rest, given), rest)
    raise InvalidInput(f"what this check takes can't be read: {problem}", where=name)


def _read(name: str, model: type[BaseModel], rest: str | None, given: Any) -> dict[str, Any]:
    """The arguments that YAML gives, by name."""
    if not isinstance(given, Mapping):
        given = _spelled_out(model, rest, given)
    try:
        return dict(model.model_validate(given))
    except ValidationError as error:
        what, where, value, allowed = complaint(error, model)
    raise InvalidInput(what, where=f"{name}.{where}" if where else name, value=value, allowed=allowed)


def _called(name: str, maker: Maker, arguments: dict[str, Any], rest: str | None) -> Check | Metered:
    """What the maker makes of its arguments; `rest` is the one that it takes as *arguments."""
    given = {key: value for key, value in arguments.items() if value is not None}
    several = given.pop(rest, []) if rest else []
    try:
        made = maker(*several, **given)
    except InvalidInput as error:
        where = f"{name}.{error.where}" if error.where else name
        wrong = InvalidInput(error.what, where=where, value=error.closest, allowed=error.allowed)
    except Exception as error:  # noqa: BLE001 - the maker may be somebody else's
        wrong = InvalidInput(f"the check could not be made: {type(error).__name__}", where=name)
    else:
        if isinstance(made, Check | Metered):
            return made
        wrong = InvalidInput(f"the check is a {type(made).__name__}, no check", where=name)
    raise wrong


def _spelled_out(model: type[BaseModel], rest: str | None, given: Any) -> dict[str, Any]:
    """`name: value` means the first argument; a list means *arguments."""
    if given is None:
        return {}
    first = rest or next((name for name in model.model_fields if name not in _OPTIONS), None)
    if first is None:
        raise InvalidInput("takes a mapping", allowed=sorted(model.model_fields))
    return {first: given if first != rest or isinstance(given, list) else [given]}


def _arguments(maker: Maker) -> tuple[type[BaseModel], str | None]:
    """What YAML may give a maker, read from its annotations, and the name of its *arguments if it has some."""
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
    model: type[BaseModel] = create_model(maker.__name__, __config__=_STRICT, **fields)
    return model, rest


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


_STRICT: Final = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
_OPTIONS: Final[Mapping[str, Any]] = {
    "otherwise": Annotated[Any, BeforeValidator(_otherwise)],
    "name": str | None,
    "reason": str | None,
    "for_all": bool | None,
    "lasting": bool | None,
}

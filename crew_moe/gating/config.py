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

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crew_moe.domain.complaint import complaint
from crew_moe.domain.expert import Tier
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.gating.catalogue import Maker, find
from crew_moe.gating.consequence import OnHoldTimeout
from crew_moe.gating.gate import Check, Gate, Metered
from crew_moe.gating.names import MAX_NAME_CHARS, plain_name
from crew_moe.gating.signature import Signature

FILE: Final = "policy.yaml"
SECTION: Final = "gate"
MAX_CHECKS: Final = 100

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
        signature = Signature.of(maker)
    except Exception as error:  # noqa: BLE001 - the annotations may be somebody else's, and lead anywhere
        problem = type(error).__name__
    else:
        return _called(name, maker, signature, _read(name, signature, given))
    raise InvalidInput(f"what this check takes can't be read: {problem}", where=name)


def _read(name: str, signature: Signature, given: Any) -> dict[str, Any]:
    """The arguments that YAML gives, by name."""
    if not isinstance(given, Mapping):
        given = signature.spelled_out(given)
    try:
        return dict(signature.model.model_validate(given))
    except ValidationError as error:
        what, where, value, allowed = complaint(error, signature.model)
    raise InvalidInput(what, where=f"{name}.{where}" if where else name, value=value, allowed=allowed)


def _called(name: str, maker: Maker, signature: Signature, arguments: dict[str, Any]) -> Check | Metered:
    """What the maker makes of its arguments."""
    given = {key: value for key, value in arguments.items() if value is not None}
    several = given.pop(signature.rest, []) if signature.rest else []
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

"""Decisions as rows of the decision log, and the same decisions worked out again from nothing but their rows.

A row holds every number that the choice was made from, as exact floats: the sizes, and per eligible expert the points,
prices, window and tier offset. The text is not in it. Identity fields are commitments (keyed digests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import numpy as np

from crew_moe.domain.access import NO_DEMANDS, Demands
from crew_moe.domain.decision import Decision, Infeasible
from crew_moe.domain.digest import digest
from crew_moe.domain.insight import insight_of
from crew_moe.domain.policy import Policy
from crew_moe.domain.request import RoutingRequest
from crew_moe.ports import StrategyContext
from crew_moe.routing.choice import Choice, chances_by, choose_by, choose_highest
from crew_moe.routing.cost import Prices
from crew_moe.routing.lane import TIERS, Field, Figures, Lane, Roster
from crew_moe.routing.needs import Asked, Terms
from crew_moe.routing.redeciding import asked_row, features_of, scene_row
from crew_moe.routing.ruling import Grounds, Ruling
from crew_moe.routing.sharing import Sharing, repeated
from crew_moe.routing.slate import leading
from crew_moe.strategies import STRATEGIES

SCHEMA_VERSION: Final = 1
IDENTITY: Final = ("tenant", "project", "user", "channel", "run_id", "session_key")
IDENTITY_VALUES: Final = itemgetter(*IDENTITY)
ROUNDING: Final = 1e-9


Identity = tuple[str | None, ...]


def identity_of(request: RoutingRequest) -> Identity:
    """The identity fields of a request, in the order of IDENTITY; empty when none is set."""
    values: Identity = IDENTITY_VALUES(request.__dict__)
    return values if any(values) else ()


def commitments(identity: Identity, key: bytes) -> dict[str, str]:
    """Keyed digests of the identity fields that are set; without the key they name nobody."""
    pairs = zip(IDENTITY, identity, strict=False)
    return {name: digest(value, key=key).hex() for name, value in pairs if value is not None}


@dataclass(frozen=True, slots=True, eq=False)
class LogEntry:
    """A decision as the log takes it: small, without the text, and its row when it is called. `experiment` is the part
    that it had in one.
    """

    decision: Decision | Infeasible
    text_digest: bytes
    identity: Identity
    key: bytes
    own: Asked | None = None
    experiment: Mapping[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        row = row_of(self.decision, self.text_digest, self.identity, self.key, self.own)
        return row if self.experiment is None else {**row, "experiment": dict(self.experiment)}


def row_of(
    decision: Decision | Infeasible, text_digest: bytes, identity: Identity, key: bytes, own: Asked | None = None
) -> dict[str, Any]:
    """The JSON-ready row of one decision; identity fields go in as commitments. `own` is what the request asked for
    beside what it has in common with others, as redeciding.beside tells it.
    """
    head = {
        "kind": "decision",
        "schema_version": SCHEMA_VERSION,
        "text_digest": text_digest.hex(),
        "identity": commitments(identity, key),
        "features": decision.features._asdict(),
        **decision.as_dict(),
    }
    if isinstance(decision, Decision) and isinstance(decision.basis, Sharing):
        return {**head, **decision.basis.row}
    if isinstance(decision.basis, Grounds):
        return {**head, **_again(decision.basis, own)}
    if not isinstance(decision.basis, Ruling):
        return head
    ruling = decision.basis
    return {
        **head,
        **_again(ruling, own),
        "seed": ruling.seed,
        "reason": ruling.reason,
        "asked_tier": _asked_tier(ruling.lane),
        "figures": figures_row(ruling.lane.figures),
        "roster": ruling.lane.roster._asdict(),
        "insight": None if ruling.insight is None else ruling.insight.as_dict(),
    }


def _again(grounds: Ruling | Grounds, own: Asked | None) -> dict[str, Any]:
    """What making the decision again under another policy needs."""
    return {
        "demands": demands_row(grounds.lane.needs.demands),
        "sizes": grounds.terms._asdict(),
        "asked": asked_row(grounds.asked, own, grounds.terms.budget_nano),
        "scene": scene_row(grounds.lane.scene),
    }


def figures_row(figures: Figures) -> dict[str, Any]:
    """Figures as JSON-ready numbers, exact."""
    numbers = figures.prices._asdict() | figures._asdict()
    del numbers["prices"]
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in numbers.items()}


def demands_row(demands: Demands) -> dict[str, Any] | None:
    """What was demanded beyond the request: the rules against each expert, and the rest as it is; None for nothing."""
    if demands == NO_DEMANDS:
        return None
    return {**demands._asdict(), "forbidden": {expert_id: list(rules) for expert_id, rules in demands.rules.items()}}


def replay(row: Mapping[str, Any], policy: Policy) -> tuple[str, float, float] | None:
    """(expert id, score, propensity) worked out again from the row.

    None where the row alone does not decide: nothing was feasible, a group was formed, a strategy read a policy of
    another version than `policy`, or the tenant's name, which is not in the row; or where the row contradicts itself.
    """
    if not row["ok"] or row["group"] is not None:
        return None
    if "shares" in row:
        return repeated(row)
    figures, roster, terms = _figures(row["figures"]), _roster(row["roster"]), Terms(**row["sizes"])
    field = figures.judge(*terms)
    if row["seed"] is None and not row["reason"]:
        choice: Choice | None = choose_highest(field)
    elif row["policy_version"] != policy.version or _read_tenant(row, policy):
        return None
    else:
        choice = choose_by(row["strategy"], roster, field, _context(row, policy), row["seed"])
    if choice is None or roster.ids[choice.position] in _forbidden(row):
        return None
    return roster.ids[choice.position], float(field.score[choice.position]), choice.propensity


def chances_in(row: Mapping[str, Any], policy: Policy) -> dict[str, float]:
    """With which probability each expert could have been taken when this decision was made, by id, worked out from the
    row. Those of a strategy that takes the highest ranking, explored or not, need no policy; others need the one that
    they read. Empty where the row can't tell, as in `replay`.
    """
    if not row["ok"] or row.get("group") is not None or "shares" in row or "figures" not in row:
        return {}
    roster = _roster(row["roster"])
    field = _figures(row["figures"]).judge(*Terms(**row["sizes"]))
    if getattr(STRATEGIES.get(row["strategy"]), "greedy", False):
        found = _around_highest(row, roster, field)
    elif row["policy_version"] != policy.version or _read_tenant(row, policy) or row["seed"] is None:
        return {}
    else:
        found = chances_by(row["strategy"], roster, field, _context(row, policy), row["seed"])
    return found if abs(found.get(row["expert_id"], 0.0) - row["propensity"]) < ROUNDING else {}


def predicted_costs(row: Mapping[str, Any]) -> dict[str, float]:
    """What each expert that was eligible would have cost, as it was predicted then, in nano-USD by id."""
    if "figures" not in row:
        return {}
    field = _figures(row["figures"]).judge(*Terms(**row["sizes"]))
    return dict(zip(row["roster"]["ids"], field.cost.tolist(), strict=True))


def eligible_in(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Who could have been chosen when this decision was made, by id; nobody where the row does not tell."""
    if "figures" not in row:
        return ()
    roster = _roster(row["roster"])
    field = _figures(row["figures"]).judge(*Terms(**row["sizes"]))
    return tuple(roster.ids[position] for position in leading(field).tolist())


def _around_highest(row: Mapping[str, Any], roster: Roster, field: Field) -> dict[str, float]:
    """All or most of it on the highest ranking, and the same on all others: what was chosen tells how much."""
    highest, slate = choose_highest(field), leading(field)
    if highest is None:
        return {}
    ids = [roster.ids[position] for position in slate.tolist()]
    first, others = roster.ids[highest.position], len(ids) - 1
    each = row["propensity"]
    if row["expert_id"] == first:
        each = (1.0 - each) / others if others else 0.0
    shares = dict.fromkeys(ids, each) if each > 0.0 else {}
    return {**shares, first: 1.0 - each * others}


def _read_tenant(row: Mapping[str, Any], policy: Policy) -> bool:
    """Whether rules about tenants may have decided, of which the row has no more than a commitment."""
    return "tenant" in row["identity"] and any(rule.when.tenants for rule in policy.rules)


def _forbidden(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Experts that rules kept out; rows of earlier versions do not have the field."""
    demands = row.get("demands")
    return demands["forbidden"] if demands else {}


def _figures(row: Mapping[str, Any]) -> Figures:
    values: dict[str, Any] = {
        name: np.array(value) if isinstance(value, list) else value for name, value in row.items()
    }
    prices = Prices(*(values.pop(name) for name in Prices._fields))
    return Figures(prices=prices, **values)


def _roster(row: Mapping[str, Any]) -> Roster:
    return Roster(**{name: tuple(values) for name, values in row.items()})


def _context(row: Mapping[str, Any], policy: Policy) -> StrategyContext:
    """What the strategy saw."""
    now = datetime.fromisoformat(row["created_at"])
    insight = insight_of(row.get("insight"))
    return StrategyContext(features=features_of(row), policy=policy, tier=row["asked_tier"], now=now, insight=insight)


def _asked_tier(lane: Lane) -> str | None:
    return None if lane.needs.tier is None else TIERS[lane.needs.tier]

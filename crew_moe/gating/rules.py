"""Access rules as policy.yaml has them: needs no extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crew_moe.domain.access import AccessRule, Asked, Who
from crew_moe.domain.registry import Registry
from crew_moe.gating.rulebook import Mentions, Rulebook


def rules_rulebook(rules: Sequence[AccessRule], registry: Registry) -> Rulebook | None:
    """The rules, ready to be asked; None where there are none. Whom each bars is worked out once."""
    if not rules:
        return None
    barred = [(rule, tuple(expert.expert_id for expert in registry if rule.forbids(expert))) for rule in rules]

    def forbids(asked: Asked) -> Iterator[tuple[str, str]]:
        for rule, expert_ids in barred:
            if rule.applies(asked):
                yield from ((expert_id, rule.name) for expert_id in expert_ids)

    return Rulebook(Mentions.union([_mentions(rule) for rule in rules]), forbids)


def _mentions(rule: AccessRule) -> Mentions:
    return Mentions.union([_mentions_of(rule, who) for who in (rule.who, *rule.unless)])


def _mentions_of(rule: AccessRule, who: Who) -> Mentions:
    when = rule.when
    return Mentions(
        who=who, residencies=when.residencies or None, risk=bool(when.risks), task_type=bool(when.task_types)
    )

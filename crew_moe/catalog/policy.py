"""policy.yaml -> Policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from crew_moe.catalog.access import access_rules, read_policies
from crew_moe.catalog.learning_schema import learning_policy
from crew_moe.catalog.locate import layers
from crew_moe.catalog.parse import parse_documents, parse_layers
from crew_moe.catalog.schema import (
    BudgetsEntry,
    ConcernEntry,
    DetectorEntry,
    MatchEntry,
    PiiEntry,
    PolicyFile,
    ProfileEntry,
    RuleEntry,
    ScreeningEntry,
    TaskEntry,
)
from crew_moe.documents import as_mapping, parse_yaml, read_mapping
from crew_moe.domain.access import PolicyText
from crew_moe.domain.budget import BudgetPolicy, BudgetRule
from crew_moe.domain.digest import digest
from crew_moe.domain.money import to_nano
from crew_moe.domain.policy import (
    BreakerPolicy,
    CostPolicy,
    Exploration,
    Limits,
    Match,
    ParallelPolicy,
    Policy,
    Profile,
    RiskPolicy,
    Rule,
    Thresholds,
    TierPolicy,
    Weights,
)
from crew_moe.domain.registry import Registry
from crew_moe.domain.scope import written_pattern
from crew_moe.domain.screening import Action, Concern, DetectorChoice, ScreeningPolicy
from crew_moe.domain.task import TaskPreference, TaskType
from crew_moe.errors import ConfigError, InvalidInput

FILE = "policy.yaml"
CANDIDATE = "the candidate"


def load_policy(config: Path | None, registry: Registry, strategies: Iterable[str]) -> Policy:
    """The packaged policy with the policy.yaml and the Cedar policies of the folder `config` over it.

    Every expert that it names must stand in `registry`, its strategy among `strategies`. Raises ConfigError.
    """
    files = layers(FILE, config)
    return _policy(parse_layers(files, PolicyFile), read_policies(config), registry, strategies, str(files[-1]))


def read_policy(
    document: str | Mapping[str, Any],
    registry: Registry,
    strategies: Iterable[str],
    *,
    cedar: tuple[PolicyText, ...] = (),
) -> Policy:
    """As `load_policy`, with YAML text or a mapping in the place of a folder's policy.yaml, and these Cedar policies.

    Raises ConfigError, in which the document is called CANDIDATE.
    """
    parsed_text = parse_yaml(document, CANDIDATE) if isinstance(document, str) else document
    document = as_mapping(parsed_text, CANDIDATE)
    (packaged,) = layers(FILE, None)
    parsed = parse_documents([(packaged, read_mapping(packaged)), (Path(CANDIDATE), document)], PolicyFile)
    return _policy(parsed, cedar, registry, strategies, CANDIDATE)


def _policy(
    parsed: PolicyFile, cedar: tuple[PolicyText, ...], registry: Registry, strategies: Iterable[str], file: str
) -> Policy:
    _check(parsed, registry, tuple(strategies), file)
    content = [parsed.model_dump_json(), *(part for policy in cedar for part in (policy.name, policy.text))]
    version = digest("\0".join(content), size=6).hex()
    return Policy(
        name=parsed.name,
        version=f"{parsed.name}@{version}",
        strategy=parsed.strategy,
        weights=Weights(**parsed.weights.model_dump()),
        thresholds=Thresholds(**parsed.thresholds.model_dump()),
        tiers={tier: TierPolicy(**entry.model_dump()) for tier, entry in parsed.tiers.items()},
        risks={risk: RiskPolicy(**entry.model_dump()) for risk, entry in parsed.risks.items()},
        cost=CostPolicy(**parsed.cost.model_dump()),
        limits=Limits(**parsed.limits.model_dump()),
        breaker=BreakerPolicy(**parsed.breaker.model_dump()),
        parallel=ParallelPolicy(**parsed.parallel.model_dump()),
        exploration=Exploration(**parsed.exploration.model_dump()),
        tasks={task_type: _task(entry) for task_type, entry in parsed.tasks.items()},
        rules=tuple(_rule(entry) for entry in parsed.rules),
        profiles={profile_id: _profile(profile_id, entry) for profile_id, entry in parsed.profiles.items()},
        access=access_rules(parsed.access, registry, file),
        cedar=cedar,
        budgets=_budgets(parsed.budgets, file),
        screening=_screening(parsed.screening),
        gate=parsed.gate,
        learning=learning_policy(parsed.learning, Path(file).parent),
    )


def _budgets(entry: BudgetsEntry, file: str) -> BudgetPolicy:
    rules: dict[str, BudgetRule] = {}
    for written, limit in entry.limits.items():
        key = f"budgets.limits.{written}"
        scope = _scope(written, file, key)
        if scope in rules:
            raise ConfigError(f"there is a limit for '{scope}' already", file=file, key=key)
        rules[scope] = BudgetRule(
            scope=scope,
            limit_nano=to_nano(limit.usd),
            window=limit.window,
            on_exhausted=limit.on_exhausted or entry.on_exhausted,
            warn_at=entry.warn_at if limit.warn_at is None else limit.warn_at,
        )
    return BudgetPolicy(rules=rules, on_exhausted=entry.on_exhausted, warn_at=entry.warn_at)


def _scope(written: str, file: str, key: str) -> str:
    """The scope that a limit holds for, as calls pay into it."""
    try:
        return written_pattern(written)
    except InvalidInput as error:
        raise ConfigError(error.what, file=file, key=key, allowed=error.allowed) from None


def _screening(entry: ScreeningEntry) -> ScreeningPolicy:
    given: dict[Concern, Action | ConcernEntry] = {
        concern: getattr(entry, concern.value) for concern in Concern if concern is not Concern.LANGUAGE
    }
    whole = {
        concern: one if isinstance(one, ConcernEntry) else ConcernEntry(action=one) for concern, one in given.items()
    }
    pii = entry.pii if isinstance(entry.pii, PiiEntry) else PiiEntry()
    return ScreeningPolicy(
        actions={Concern.LANGUAGE: entry.language.action} | {concern: one.action for concern, one in whole.items()},
        detectors={concern: tuple(map(_choice, one.detectors)) for concern, one in whole.items()},
        restore=entry.restore,
        pii_types=frozenset(pii.types),
        languages=frozenset(entry.language.expected),
    )


def _choice(entry: DetectorEntry) -> DetectorChoice:
    return DetectorChoice(kind=entry.kind, path=entry.path, bad_labels=tuple(entry.bad_labels))


def _task(entry: TaskEntry) -> TaskPreference:
    return TaskPreference(
        preferred=tuple(entry.preferred),
        budget=tuple(entry.budget),
        requires=frozenset(entry.requires),
        output_multiplier=entry.output_multiplier,
        min_output_tokens=entry.min_output_tokens,
        max_output_tokens=entry.max_output_tokens,
        critical=entry.critical,
    )


def _match(entry: MatchEntry) -> Match:
    return Match(
        task_types=frozenset(entry.task_types),
        tiers=frozenset(entry.tiers),
        risks=frozenset(entry.risks),
        urgencies=frozenset(entry.urgencies),
        scripts=frozenset(entry.scripts),
        tenants=frozenset(entry.tenants),
        min_input_tokens=entry.min_input_tokens,
        max_input_tokens=entry.max_input_tokens,
        has_code=entry.has_code,
    )


def _rule(entry: RuleEntry) -> Rule:
    return Rule(name=entry.name, when=_match(entry.when), use=tuple(entry.use))


def _profile(profile_id: str, entry: ProfileEntry) -> Profile:
    return Profile(profile_id=profile_id, expert_id=entry.expert, **entry.model_dump(exclude={"expert"}))


def _check(parsed: PolicyFile, registry: Registry, strategies: tuple[str, ...], file: str) -> None:
    if parsed.strategy not in strategies:
        raise ConfigError(
            f"unknown strategy '{parsed.strategy}'",
            file=file,
            key="strategy",
            value=parsed.strategy,
            allowed=sorted(strategies),
        )
    for key, names in _named_experts(parsed).items():
        for name in names:
            if name not in registry:
                raise ConfigError(
                    f"unknown expert '{name}'", file=file, key=key, value=name, allowed=sorted(registry.by_id)
                )
    missing = sorted(set(TaskType) - set(parsed.tasks))
    if missing:
        raise ConfigError(f"no entry for {', '.join(missing)}", file=file, key="tasks", allowed=list(TaskType))
    if sum(parsed.weights.model_dump().values()) <= 0:
        raise ConfigError("the weights add up to nothing", file=file, key="weights")


def _named_experts(parsed: PolicyFile) -> Mapping[str, Iterable[str]]:
    named: dict[str, Iterable[str]] = {}
    for task_type, task in parsed.tasks.items():
        named[f"tasks.{task_type}.preferred"] = task.preferred
        named[f"tasks.{task_type}.budget"] = task.budget
    for index, rule in enumerate(parsed.rules):
        named[f"rules.{index}.use"] = rule.use
    for profile_id, profile in parsed.profiles.items():
        named[f"profiles.{profile_id}.expert"] = (profile.expert,)
    if parsed.learning.baseline is not None:
        named["learning.baseline.expert"] = (parsed.learning.baseline.expert,)
    return named

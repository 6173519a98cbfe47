"""The ten tools: what each is called, who may call it, what it does to the world, and which operation it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from crew_moe.auth.caller import AccessScope
from crew_moe.domain.outcome import Outcome
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.word import Word
from crew_moe.errors import NotAvailable
from crew_moe.surface.experts import Wanted, checked_fields
from crew_moe.surface.page import page_of
from mcp_server.answers import (
    Answer,
    Budget,
    CrewResult,
    Experts,
    Health,
    HealthReport,
    OverridesCleared,
    OverrideSet,
    Recorded,
    ScopeBudget,
    Suggestion,
    Told,
    Trial,
)
from mcp_server.arguments import (
    BudgetAsked,
    Candidate,
    CrewInputs,
    DecisionAsked,
    ExpertsAsked,
    HealthAsked,
    Override,
    OverridesToClear,
)
from mcp_server.call import Call

if TYPE_CHECKING:
    from crew_moe.crew.watch import Progress


class Toolset(Word):
    """Tools that are switched on together."""

    ROUTING = "routing"
    POLICY = "policy"
    BUDGET = "budget"
    OUTCOMES = "outcomes"
    OVERRIDES = "overrides"
    CREW = "crew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a tool does to the world, as MCP's annotations say it."""

    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


READS: Final = Effect(read_only=True, idempotent=True)
ADDS_ONCE: Final = Effect(idempotent=True)
REPLACES: Final = Effect(destructive=True)
REMOVES: Final = Effect(destructive=True, idempotent=True)
ACTS: Final = Effect(destructive=True, open_world=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """One tool. `notes` are descriptions of fields that need one, `hidden` are fields that few need: they are taken but
    not shown. A `swift` tool asks neither disk nor network, so that it runs on the event loop; a `slow` one takes
    minutes, and may not take the threads of the others.
    """

    name: str
    title: str
    description: str
    toolset: Toolset
    scope: AccessScope
    effect: Effect
    takes: type[BaseModel]
    gives: type[Answer]
    run: Callable[[Call, Any], Answer]
    notes: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    swift: bool = False
    slow: bool = False


def suggest_route(call: Call, asked: RoutingRequest) -> Suggestion:
    return Suggestion.of(call.operations.suggest(call.caller, asked))


def list_experts(call: Call, asked: ExpertsAsked) -> Experts:
    only = checked_fields(asked.fields)
    wanted = Wanted(
        tier=asked.tier, provider=asked.provider, capabilities=asked.capabilities, available=asked.available
    )
    page = call.operations.experts(wanted, cursor=asked.cursor, limit=asked.limit, caller=call.caller)
    return Experts(
        experts=tuple(row.as_dict(only) for row in page.rows), next_cursor=page.next_cursor, total=page.total
    )


def expert_health(call: Call, asked: HealthAsked) -> HealthReport:
    rows = call.operations.health(asked.expert_id, caller=call.caller)
    page = page_of(rows, lambda row: row.expert_id, cursor=asked.cursor, limit=asked.limit)
    return HealthReport(experts=tuple(map(Health.of, page.rows)), next_cursor=page.next_cursor, total=page.total)


def explain_decision(call: Call, asked: DecisionAsked) -> Told:
    return Told.of(call.operations.explain(call.caller, asked.decision_id))


def simulate_policy(call: Call, asked: Candidate) -> Trial:
    trial = call.operations.simulate(call.caller, asked.policy, decisions=asked.decisions, task_type=asked.task_type)
    return Trial.of(trial)


def budget_status(call: Call, asked: BudgetAsked) -> Budget:
    return Budget(scopes=tuple(map(ScopeBudget.of, call.operations.budget(call.caller, asked.scope))))


def record_outcome(call: Call, asked: Outcome) -> Recorded:
    return Recorded(recorded=call.operations.record(call.caller, asked))


def set_override(call: Call, asked: Override) -> OverrideSet:
    return OverrideSet.of(call.operations.pin(call.caller, **asked.model_dump()))


def clear_override(call: Call, asked: OverridesToClear) -> OverridesCleared:
    return OverridesCleared(removed=call.operations.unpin(call.caller, **asked.model_dump(exclude={"everything"})))


def execute_crew(call: Call, asked: CrewInputs) -> CrewResult:
    if call.project is None:
        raise NotAvailable("execute_crew")

    def told(step: Progress) -> None:
        call.tell(step.finished, step.total, f"{step.task} {step.stage}")

    run = call.project.run(
        asked.inputs,
        principal=call.caller.acting,
        budget_usd=asked.budget_usd,
        progress=told,
        cancel=call.stopped,
    )
    return CrewResult.of(run)


TOOLS: Final = (
    ToolRow(
        name="suggest_route",
        title="Suggest an expert",
        description=(
            "Which expert (LLM) should serve a request, its fallbacks, expected cost and why. Use before calling a "
            "model. Calls none, reserves no money. ok=false: nobody may serve, `binding` is the limit to loosen."
        ),
        toolset=Toolset.ROUTING,
        scope=AccessScope.READ,
        effect=READS,
        takes=RoutingRequest,
        gives=Suggestion,
        run=suggest_route,
        notes={
            "text": "What is to be done; read for its features and never stored.",
            "task_type": "Inferred from the text when left out.",
            "budget_usd": "Ceiling for the whole task.",
            "min_quality": "Hard floor, 0 to 1.",
            "requires": "Capabilities that the expert must have.",
            "pin": "This expert_id and no other.",
        },
        hidden=frozenset(
            {"parallel", "profile", "modality", "critical", "seed", "session_key", "channel", "run_id", "fallbacks"}
            | {"strategy", "urgency", "user", "task", "deadline_ms"}
        ),
        swift=True,
    ),
    ToolRow(
        name="list_experts",
        title="List the experts",
        description=(
            "The catalogue by pages: prices, windows, capabilities, availability. Use to find expert ids. Name the "
            "`fields` you need; pass next_cursor on for the next page."
        ),
        toolset=Toolset.ROUTING,
        scope=AccessScope.READ,
        effect=READS,
        takes=ExpertsAsked,
        gives=Experts,
        run=list_experts,
        notes={
            "fields": "Fields of a row, beside expert_id; default: all.",
            "cursor": "next_cursor of the page before.",
        },
    ),
    ToolRow(
        name="expert_health",
        title="Health of experts",
        description=(
            "Success rate, quality, average latency, cost and circuit breaker of experts, and why one can't be "
            "called. Use before depending on one, or when calls fail."
        ),
        toolset=Toolset.ROUTING,
        scope=AccessScope.READ,
        effect=READS,
        takes=HealthAsked,
        gives=HealthReport,
        run=expert_health,
        notes={"expert_id": "One expert; default: all, by pages."},
    ),
    ToolRow(
        name="explain_decision",
        title="Explain a decision",
        description=(
            "Why a recorded decision chose its expert, who was rejected by which rule, and what came of it. Use "
            "when asked why, or when nobody could serve."
        ),
        toolset=Toolset.ROUTING,
        scope=AccessScope.READ,
        effect=READS,
        takes=DecisionAsked,
        gives=Told,
        run=explain_decision,
        notes={"decision_id": "As suggest_route, crews and the log give it."},
    ),
    ToolRow(
        name="simulate_policy",
        title="Try a policy",
        description=(
            "Make the newest logged decisions again under a candidate for policy.yaml: who would serve, at which "
            "cost. Says nothing of quality. Use before changing a policy."
        ),
        toolset=Toolset.POLICY,
        scope=AccessScope.READ,
        effect=READS,
        takes=Candidate,
        gives=Trial,
        run=simulate_policy,
        notes={"policy": "What differs from the packaged policy, as an object or YAML."},
    ),
    ToolRow(
        name="budget_status",
        title="Budgets",
        description=(
            "What is spent, reserved and left in each budget scope. Use before costly work, or when a budget "
            "refused a request."
        ),
        toolset=Toolset.BUDGET,
        scope=AccessScope.READ,
        effect=READS,
        takes=BudgetAsked,
        gives=Budget,
        run=budget_status,
        notes={"scope": "kind:name, as tenant:acme or project:acme/web; default: all that you may see."},
    ),
    ToolRow(
        name="record_outcome",
        title="Record an outcome",
        description=(
            "Tell how a call went that you made yourself. Use after every call that suggest_route led to: routing "
            "learns, and the cost is charged. Counts once per decision and attempt."
        ),
        toolset=Toolset.OUTCOMES,
        scope=AccessScope.REPORT,
        effect=ADDS_ONCE,
        takes=Outcome,
        gives=Recorded,
        run=record_outcome,
    ),
    ToolRow(
        name="set_override",
        title="Pin an expert",
        description=(
            "Send matching requests to one expert alone. Use in an incident. Replaces the override of the same task "
            "type, task and tenant."
        ),
        toolset=Toolset.OVERRIDES,
        scope=AccessScope.ADMIN,
        effect=REPLACES,
        takes=Override,
        gives=OverrideSet,
        run=set_override,
        notes={"task": "A task's name in tasks.yaml.", "minutes": "Default: until cleared."},
    ),
    ToolRow(
        name="clear_override",
        title="Remove pins",
        description="Remove the overrides that match every field given. Use when the incident is over.",
        toolset=Toolset.OVERRIDES,
        scope=AccessScope.ADMIN,
        effect=REMOVES,
        takes=OverridesToClear,
        gives=OverridesCleared,
        run=clear_override,
        notes={"everything": "True and no field: all of them."},
    ),
    ToolRow(
        name="execute_crew",
        title="Run the crew",
        description=(
            "Run the configured crew and wait for its answer. Use only when asked to: it calls models and spends "
            "money, within budgets and gate. Reports progress by task; cancel to stop before the next call."
        ),
        toolset=Toolset.CREW,
        scope=AccessScope.EXECUTE,
        effect=ACTS,
        takes=CrewInputs,
        gives=CrewResult,
        run=execute_crew,
        notes={"inputs": "The crew's placeholders.", "budget_usd": "Ceiling for this run."},
        slow=True,
    ),
)

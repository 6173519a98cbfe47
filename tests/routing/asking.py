"""Random requests and boards, of every kind that a decision treats differently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from crew_moe.domain.expert import Capability, Tier
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Modality, Risk, TaskType, Urgency
from crew_moe.routing import Board
from tests.routing.given import EXPLORING, OPEN, POLICY, REGISTRY, board, pin, record

IDS: Final = st.sampled_from([expert.expert_id for expert in REGISTRY])
WORDS: Final = (
    "implement a parser",
    "```def f(): pass```",
    "the patient's password",
    "urgent",
    "原因を分析する",
    "Привет",
    "\n",
    "é",
    "prove it step by step",
    "plan",
    "x" * 5_000,
    "security audit",
)
TEXTS: Final = st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=6).map(" ".join)

FIELDS: Final[dict[str, SearchStrategy[Any]]] = {
    "text": TEXTS,
    "context_tokens": st.sampled_from([0, 10, 99_990, 100_000, 150_000, 900_000]),
    "max_output_tokens": st.sampled_from([1, 64, 500, 100_000]),
    "budget_usd": st.sampled_from(["0", "0.0001", "0.001", "0.005", "0.0051", "0.01", "0.1", "3"]),
    "min_quality": st.sampled_from([0.0, 0.8, 0.9, 0.95, 0.98, 1.0]),
    "max_latency_ms": st.sampled_from([1.0, 450.0, 800.0, 3_000.0]),
    "tier": st.sampled_from(Tier),
    "requires": st.frozensets(st.sampled_from(Capability), max_size=2),
    "modality": st.sampled_from(Modality),
    "preferred_providers": st.sampled_from([("openai",), ("local",), ("google", "mistral")]),
    "tenant": st.sampled_from(["a", "b"]),
    "task": st.just("first"),
    "residency": st.sampled_from(["eu", "us", "moon"]),
    "pii": st.sampled_from(["allow", "local_only"]),
    "risk": st.sampled_from(Risk),
    "urgency": st.sampled_from(Urgency),
    "strategy": st.sampled_from(["score", "rule"]),
    "profile": st.sampled_from([None, "careful-review", "quick-draft"]),
    "pin": st.none() | IDS,
    "fallbacks": st.lists(IDS, max_size=3).map(tuple),
    "critical": st.booleans(),
    "seed": st.integers(min_value=0, max_value=9),
}
GROUPS: Final = st.sampled_from([True, "auto", {"experts": 2, "consensus": "voting"}])


@st.composite
def fields(draw: st.DrawFn, *, groups: bool = True, always: tuple[str, ...] = ()) -> dict[str, Any]:
    """Fields of a valid request; most are absent, as they are in life, but never those of `always`."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=6))
    found = {name: draw(FIELDS[name]) for name in dict.fromkeys((*always, *names))}
    if draw(st.integers(0, 5)) or not found.get("text", "").strip():
        found["task_type"] = draw(st.sampled_from(TaskType))
    if "tier" in found and draw(st.booleans()):
        found["max_tier"] = Tier.PREMIUM
    if groups and not draw(st.integers(0, 7)):
        found["parallel"] = draw(GROUPS)
    return found


def requests(*, groups: bool = True, always: tuple[str, ...] = ()) -> SearchStrategy[RoutingRequest]:
    """Valid requests of every kind."""
    return fields(groups=groups, always=always).map(lambda found: RoutingRequest(**found))


@st.composite
def families(draw: st.DrawFn) -> list[RoutingRequest]:
    """Requests of which each differs from the first in one field or none: what a batch must tell apart."""
    first = draw(fields())
    first.setdefault("task_type", TaskType.PLANNING)
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=8))
    others = [{**first, name: draw(FIELDS[name])} for name in names]
    return [RoutingRequest(**one) for one in (first, *others)]


def boards(*, pinned: bool = True) -> SearchStrategy[Board]:
    """Boards that know nothing, have learned, explore, go by rules, must call for real; one with pins, if wanted."""
    learned = {
        ("gpt-4o", "planning"): record(success_rate=0.2, output_tokens=700.0, learned=0.9),
        ("claude-opus-4", "planning"): record(success_rate=1.0, output_tokens=90.0),
        ("gemini-2.0-flash-thinking", "reasoning"): record(success_rate=0.99, output_tokens=3_000.0),
    }
    shares = {"openai": 0.5, "anthropic": 0.25}
    return st.sampled_from(
        [
            board(),
            board(performance=learned, provider_share=shares, breakers={"provider:openai": OPEN, "expert:o1": OPEN}),
            board(policy=EXPLORING, performance=learned),
            board(policy=replace(POLICY, strategy="rule")),
            board(live=True, without_credentials=frozenset({"gpt-5", "gpt-4o"})),
            board(pins=(pin("gpt-4o-mini", tenant="a"), pin("command-r", task_type="analysis")) if pinned else ()),
        ]
    )

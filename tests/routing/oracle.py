"""Eligibility and score worked out naively, one expert at a time and in plain Python, to hold the columns against."""

from __future__ import annotations

from crew_moe.domain.decision import Candidate
from crew_moe.domain.expert import Capability, Expert, Status, Tier
from crew_moe.domain.features import Features
from crew_moe.domain.policy import Profile
from crew_moe.domain.request import RoutingRequest
from crew_moe.domain.task import Modality
from crew_moe.routing import Board
from crew_moe.routing.needs import Terms, terms_of
from tests.routing.given import NOW


def profile_in(request: RoutingRequest, board: Board) -> Profile | None:
    return board.policy.profiles[request.profile] if request.profile else None


def broken_rules(expert: Expert, request: RoutingRequest, features: Features, terms: Terms, board: Board) -> set[str]:
    """Names of the hard rules that keep this expert out; pins of the board are the caller's business."""
    profile = profile_in(request, board)
    local_wanted = request.pii == "local_only" or "local" in request.preferred_providers
    named = {*(request.fallbacks or ()), request.pin, profile.expert_id if profile else None}
    chosen_by = {*(request.fallbacks or ())}
    latency = min(limit for limit in (request.max_latency_ms, profile and profile.max_latency_ms, 1e18) if limit)
    window = min(expert.context_window, profile.context_window or 10**9) if profile else expert.context_window
    found = {
        "enabled": not expert.enabled,
        "retired": board.live and expert.status is Status.RETIRED,
        "no_credentials": expert.expert_id in board.without_credentials,
        "named_only": expert.named_only and expert.expert_id not in named and not (expert.is_local and local_wanted),
        "pin": request.pin is not None and expert.expert_id not in chosen_by | {request.pin},
        "profile": profile is not None and expert.expert_id not in chosen_by | {profile.expert_id},
        "residency": request.residency is not None and not expert.regions & {request.residency, "*"},
        "local_only": request.pii == "local_only" and not expert.is_local,
        "moderation": features.risk == "high" and request.pii != "local_only" and not expert.moderated,
        "budget_usd": terms.budget_nano is not None and _cost_nano(expert, features, terms, board) > terms.budget_nano,
        "capability": not _wanted(request, features, board) <= expert.capabilities,
        "context_window": window < terms.input_tokens + terms.output_tokens,
        "tier": not _tier_fits(expert, request),
        "min_quality": request.min_quality is not None and expert.quality < request.min_quality,
        "max_latency_ms": expert.latency_p50_ms > latency,
        "circuit_open": _is_open(expert, board),
    }
    return {rule for rule, broken in found.items() if broken}


def points(expert: Expert, candidate: Candidate, request: RoutingRequest, features: Features, board: Board) -> float:
    """Seed 001's seven factors by hand; `candidate` gives the predicted cost."""
    policy, snapshot = board.policy, board.snapshot
    weights, task = policy.weights, policy.tasks[features.task_type]
    record = snapshot.performance.get((expert.expert_id, features.task_type))
    trust, history, learned = policy.thresholds.history_samples, expert.reliability, policy.thresholds.learning_prior
    if record and record.success_rate is not None:
        history = (trust * history + record.samples * record.success_rate) / (trust + record.samples)
    if record and record.learned is not None:
        learned = record.learned
    tight = request.budget_usd is not None and request.budget_usd <= policy.thresholds.tight_budget_usd
    ranked = list(task.budget if tight else task.preferred)
    preference = max(0.0, 1 - 0.25 * ranked.index(expert.expert_id)) if expert.expert_id in ranked else 0.0
    total = weights.quality * expert.quality + weights.cost * cost_share(candidate, request, features, board)
    total += weights.history * history + weights.learning * learned + weights.preference * preference
    total += weights.diversity * (1 - snapshot.provider_share.get(expert.provider, 0.0))
    total += weights.provider * (expert.provider in request.preferred_providers)
    return total * 100 / 105


def cost_share(candidate: Candidate, request: RoutingRequest, features: Features, board: Board) -> float:
    """The part of the cost points that a price earns: all when free, half at the reference price."""
    terms = terms_of(request, features, board.policy)
    reference = (terms.input_tokens + terms.output_tokens) * board.policy.cost.reference_usd_per_mtok / 1e6
    return reference / (reference + candidate.cost_usd)


def _cost_nano(expert: Expert, features: Features, terms: Terms, board: Board) -> float:
    """The upper end of the predicted cost."""
    output, record = terms.output_tokens, board.snapshot.performance.get((expert.expert_id, features.task_type))
    if record and record.output_tokens:
        trust = board.policy.cost.usage_samples
        output = (trust * output + record.samples * record.output_tokens) / (trust + record.samples)
    usd = terms.input_tokens * float(expert.input_usd_per_mtok) + output * float(expert.output_usd_per_mtok)
    return usd * 1e3 * (1 + board.policy.cost.spread)


def _wanted(request: RoutingRequest, features: Features, board: Board) -> frozenset[Capability]:
    seen = {
        Capability.VISION: features.modality is Modality.IMAGE,
        Capability.MULTILINGUAL: features.script != "Latn",
        Capability.LONG_CONTEXT: features.input_tokens >= board.policy.thresholds.long_context_tokens,
    }
    inferred = {capability for capability, wanted in seen.items() if wanted}
    return request.requires | board.policy.tasks[features.task_type].requires | inferred


def _tier_fits(expert: Expert, request: RoutingRequest) -> bool:
    lowest = request.tier or Tier.FAST
    highest = request.max_tier or request.tier or Tier.PREMIUM
    return lowest.rank <= expert.tier.rank <= highest.rank


def _is_open(expert: Expert, board: Board) -> bool:
    keys = (f"expert:{expert.expert_id}", f"provider:{expert.provider}")
    found = [board.snapshot.breakers[key] for key in keys if key in board.snapshot.breakers]
    return any(breaker.until is not None and breaker.until > NOW for breaker in found)

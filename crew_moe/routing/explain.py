"""The reason of a decision in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crew_moe.routing.rejections import turned_away, usd_text

if TYPE_CHECKING:
    from crew_moe.routing.ruling import Ruling


def rationale(ruling: Ruling) -> str:
    """Why this expert: its score and strongest factors, the cost, the lead, and who was turned away by what."""
    field, position = ruling.field, ruling.position
    factors = sorted(ruling.factors.items(), key=lambda item: -item[1])
    strongest = ", ".join(f"{name} {points:.1f}" for name, points in factors[:3])
    parts = [
        f"{ruling.expert_id} for {ruling.features.task_type}",
        f"{field.score[position]:.1f}/100 ({strongest})",
        f"about ${usd_text(float(field.cost[position]))}",
    ]
    if ruling.group is not None:
        judge = f" with judge {ruling.group.judge}" if ruling.group.judge else ""
        parts.append(f"group {', '.join(ruling.group.experts)}{judge}")
    insight = ruling.insight
    if insight is not None and ruling.expert_id in insight.quality:
        unlike = "" if insight.familiar else " (an unfamiliar text)"
        parts.append(f"predicted quality {insight.quality[ruling.expert_id]:.2f}{unlike}")
    if ruling.reason:
        parts.append(ruling.reason)
    if ruling.confidence < ruling.lane.scene.policy.thresholds.min_confidence:
        parts.append("a close choice")
    rules = turned_away(ruling.lane, ruling.terms)
    if rules:
        counts = ", ".join(f"{rule} {count}" for rule, count in rules)
        parts.append(f"not eligible: {counts}")
    return "; ".join(parts)

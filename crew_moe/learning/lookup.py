"""What learning knows of a request before it is decided: what a model predicts, what arms learned, whom a user likes.

Everything is at hand in memory or in a file of this machine; no decision waits for a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crew_moe.domain.digest import digest
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.policy import Policy
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.learning.context import context_vector
from crew_moe.learning.knowledge import Knowledge, Known
from crew_moe.learning.preferences import User, deviations
from crew_moe.ports import Clock, EventSink, PageStore
from crew_moe.routing.features import extract
from crew_moe.strategies.bandits import BANDITS

if TYPE_CHECKING:
    from crew_moe.learning.foresight import Foresight


class Lookup:
    """Makes the insight of one request after another. Safe for threads; never raises StateError."""

    def __init__(
        self,
        pages: PageStore,
        *,
        policy: Policy,
        clock: Clock,
        sink: EventSink,
        key: bytes,
        model: Foresight | None = None,
    ) -> None:
        self.knowledge = Knowledge(pages, policy.learning, clock, sink)
        self._policy = policy
        self._key = key
        self._model = model

    def insight(self, request: RoutingRequest, features: Features | None, registry: Registry) -> Insight | None:
        """What is predicted of each expert; None where nothing is."""
        bandit = (request.strategy or self._policy.strategy) in BANDITS
        known = self.knowledge.current(registry)
        features = features or extract(request)
        predicted = Insight()
        if self._model is not None:
            given = features.task_type if features.task_confidence == 1.0 else None
            predicted = self._model.insight(request.text, given, registry)
        liked = self._liked(request, known)
        if not bandit and self._model is None and not liked:
            return None
        quality = with_liking(predicted.quality, liked, registry)
        parts: dict[str, Any] = self._learned(request, features, predicted, quality, known, registry) if bandit else {}
        return Insight(
            model=predicted.model, familiar=predicted.familiar, quality=quality, spread=predicted.spread, **parts
        )

    def _learned(
        self,
        request: RoutingRequest,
        features: Features,
        predicted: Insight,
        quality: Mapping[str, float],
        known: Known,
        registry: Registry,
    ) -> dict[str, Any]:
        """What bandits go by. Their arms learned how far experts miss what was expected of them."""
        x = context_vector(request.text, features, predicted)
        parts: dict[str, Any] = {"vector": tuple(x.tolist())}
        if known.pacing is not None:
            parts |= {"price": known.pacing.price, "room_usd": known.pacing.room_usd}
        if known.arms is None:
            return parts
        outlook, by_id = known.arms.outlook(x), registry.by_id
        beyond = zip(known.arms.ids, outlook.mean.tolist(), strict=True)
        mean = {one: quality.get(one, by_id[one].quality) + more for one, more in beyond if one in by_id}
        return {**parts, "mean": mean, "width": dict(zip(known.arms.ids, outlook.width.tolist(), strict=True))}

    def _liked(self, request: RoutingRequest, known: Known) -> Mapping[str, float]:
        """How far this user's opinion of experts differs from everybody's."""
        samples = self._policy.learning.preference_samples
        if samples is None or request.user is None:
            return {}
        return deviations(self.knowledge.of(user_of(request, self._key)), known.everybody, samples)


def user_of(request: RoutingRequest, key: bytes) -> User:
    """The user of a request as the decision log commits to it."""
    tenant = "" if request.tenant is None else digest(request.tenant, key=key).hex()
    return User(digest(request.user or "", key=key).hex(), tenant)


def with_liking(predicted: Mapping[str, float], liked: Mapping[str, float], registry: Registry) -> Mapping[str, float]:
    """The predicted quality, or the catalogue's where nothing is predicted, as this user would have it; in [0, 1]."""
    if not liked:
        return predicted
    by_id = registry.by_id
    likely = {one: predicted.get(one, by_id[one].quality) + more for one, more in liked.items() if one in by_id}
    return {**predicted, **{one: min(1.0, max(0.0, value)) for one, value in likely.items()}}

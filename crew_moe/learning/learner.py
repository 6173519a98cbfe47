"""What one router learns with: rewards of what was judged, the share of each voice, arms, preferences.

Of a policy that asks for nothing of it, no more than rewards and shares are loaded, and no page is opened before the
first feedback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from crew_moe.domain.digest import digest
from crew_moe.domain.features import Features
from crew_moe.domain.insight import Insight
from crew_moe.domain.outcome import Feedback
from crew_moe.domain.policy import Policy
from crew_moe.domain.principal import Principal
from crew_moe.domain.registry import Registry
from crew_moe.domain.request import RoutingRequest
from crew_moe.errors import StateError
from crew_moe.learning.rewards import Facts, Rewards, facts_in, facts_of
from crew_moe.learning.trials import Trials
from crew_moe.learning.voices import Voices
from crew_moe.ports import Clock, EventSink, PageStore
from crew_moe.state.forking import survives_fork
from crew_moe.strategies.bandits import BANDITS

if TYPE_CHECKING:
    from crew_moe.learning.foresight import Foresight
    from crew_moe.learning.lookup import Lookup
    from crew_moe.learning.loop import Loop
    from crew_moe.learning.preferences import Preferences

Row = Mapping[str, Any]


class Judgement(NamedTuple):
    """A feedback, weighed: the reward that it makes (None: none), and how much of an observation it counts as, 0-1."""

    facts: Facts
    voice: str
    reward: float | None
    weight: float


class Learner:
    """Weighs what is said of answers, and learns from it. `key` turns names into the digests of the decision log."""

    def __init__(
        self,
        policy: Policy,
        pages: Callable[[], PageStore],
        *,
        clock: Clock,
        sink: EventSink,
        key: bytes,
        folder: Path | None = None,
    ) -> None:
        self._policy = policy
        self._open = pages
        self._clock = clock
        self._sink = sink
        self._key = key
        self._folder = folder
        self._rewards = Rewards(policy.learning.reward, self._own_factors(folder), failed=self._factor_failed)
        self._looks = policy.learning.model is not None or policy.learning.preference_samples is not None
        self._learns_arms = policy.strategy in BANDITS
        self.trials = Trials(lambda: self.pages, policy=policy, rewards=self._rewards, clock=clock, sink=sink)
        self._pages: PageStore | None = None
        self._beside: Learner | None = None
        self.begin_anew()
        survives_fork(self)

    def begin_anew(self) -> None:
        """After a fork: what was opened begins anew by itself; the parent's lock is nobody's."""
        self._lock = Lock()

    @property
    def pages(self) -> PageStore:
        """Where what is learned is kept; opened by whoever asks first."""
        with self._lock:
            if self._pages is None:
                self._pages = self._open()
            return self._pages

    # ---- before a decision ----------------------------------------------------------------------------------------

    def begin(self, registry: Registry) -> None:
        """Have at hand what decisions by this policy will ask for. Raises ConfigError for an unreadable model."""
        if self._looks or self._learns_arms:
            self._lookup.knowledge.begin(registry)

    def beside(self, policy: Policy, registry: Registry) -> Learner:
        """What learns from the same pages under another policy, until it is closed or another one takes its place."""
        other = Learner(
            policy, lambda: self.pages, clock=self._clock, sink=self._sink, key=self._key, folder=self._folder
        )
        other.begin(registry)
        if self._beside is not None:
            self._beside.look_no_more()
        self._beside = other
        return other

    def insight(self, request: RoutingRequest, features: Features | None, registry: Registry) -> Insight | None:
        """What is known of a request; None where neither its strategy nor the policy goes by it."""
        bandit = (request.strategy or self._policy.strategy) in BANDITS
        if not (bandit or self._looks):
            return None
        self._learns_arms = self._learns_arms or bandit
        return self._lookup.insight(request, features, registry)

    # ---- after it -------------------------------------------------------------------------------------------------

    def judge(self, feedback: Feedback, row: Row, expert_id: str, served: Row | None, voice: str) -> Judgement:
        """Weigh a feedback on the answer of `expert_id`; the room of its voice is used by asking. Raises StateError."""
        task_type = row["task_type"]
        said = facts_of(feedback, expert_id=expert_id, task_type=task_type)
        known = said if served is None else facts_in(served, task_type=task_type).but(said)
        reward = self._rewards.of(known)
        if reward is None and feedback.quality is None:
            return Judgement(said, voice, None, 0.0)
        share = self._voices.share(voice, expert_id, task_type, self._clock.now())
        return Judgement(said, voice, reward, share)

    def heed(self, row: Row, judgement: Judgement) -> None:
        """Learn from a judgement that counts. Never raises: learning fails open."""
        voice = digest(judgement.voice, size=8).hex()
        if _has_context(row):
            self._loop.judged(row, judgement.facts, voice, judgement.weight)
        user = (row.get("identity") or {}).get("user")
        if self._preferences is None or user is None or judgement.reward is None:
            return
        from crew_moe.learning.preferences import User

        whose = User(user, row["identity"].get("tenant", ""))
        try:
            expert_id, now = judgement.facts.expert_id, self._clock.now()
            self._preferences.learn(whose, expert_id, judgement.reward, judgement.weight, now)
        except StateError as error:
            self._sink.emit("learning_failed", decision_id=row["decision_id"], error=str(error))

    @property
    def prior(self) -> float:
        """Where the weight of an expert begins that nobody has judged yet."""
        return self._policy.thresholds.learning_prior

    @property
    def learns_arms(self) -> bool:
        """Whether anything may have been decided here by what arms know."""
        return self._learns_arms

    def saw(self, row: Row, served: Row) -> None:
        """Learn from the row of an attempt or an outcome. Never raises: learning fails open."""
        if _has_context(row):
            cost = served.get("cost_usd")
            self._loop.served(row, facts_in(served, task_type=row["task_type"]), None if cost is None else float(cost))

    def forget(self, user: str) -> int:
        """Erase what was learned of a user, by name; how many pages that were. Raises StateError."""
        from crew_moe.learning.preferences import forget

        commitment = digest(user, key=self._key).hex()
        if "_lookup" in self.__dict__:
            self._lookup.knowledge.forget(commitment)
        return forget(self.pages, commitment)

    def close(self) -> None:
        """Give connections back; idempotent."""
        self.trials.close()
        if self._beside is not None:
            self._beside.look_no_more()
        self.look_no_more()
        if self._pages is not None:
            self._pages.close()

    def look_no_more(self) -> None:
        """Decide by what is known by now; idempotent."""
        if "_lookup" in self.__dict__:
            self._lookup.knowledge.close()

    # ---- parts, made when they are asked for ----------------------------------------------------------------------

    @cached_property
    def _voices(self) -> Voices:
        return Voices(self.pages, self._policy.learning.client_cap)

    @cached_property
    def _loop(self) -> Loop:
        from crew_moe.learning.loop import Loop

        return Loop(self.pages, policy=self._policy.learning, rewards=self._rewards, clock=self._clock, sink=self._sink)

    @cached_property
    def _lookup(self) -> Lookup:
        from crew_moe.learning.lookup import Lookup

        return Lookup(
            self.pages,
            policy=self._policy,
            clock=self._clock,
            sink=self._sink,
            key=self._key,
            model=self._foresight(),
        )

    def _foresight(self) -> Foresight | None:
        if self._policy.learning.model is None:
            return None
        from crew_moe.learning.foresight import Foresight

        return Foresight.read(self._policy.learning.model, self._sink, self._folder)

    @cached_property
    def _preferences(self) -> Preferences | None:
        if self._policy.learning.preference_samples is None:
            return None
        from crew_moe.learning.preferences import Preferences

        return Preferences(self.pages)

    def _own_factors(self, folder: Path | None) -> tuple[Any, ...]:
        named = self._policy.learning.reward.factors
        if not named:
            return ()
        from crew_moe.learning.reward_factors import load_factors

        return load_factors(named, folder)

    def _factor_failed(self, name: str, error: Exception) -> None:
        self._sink.emit("reward_factor_failed", factor=name, error=type(error).__name__)


def voice_of(principal: Principal | None) -> str | None:
    """Who speaks, where that was authenticated; None: whoever the feedback names. A tenant's caller is one voice; one
    that acts for all tenants is taken at its word.
    """
    return None if principal is None or principal.tenant is None else f"{principal.tenant}/{principal.subject}"


def _has_context(row: Row) -> bool:
    """Whether the decision was made with a context that arms can learn on."""
    return bool((row.get("insight") or {}).get("vector"))

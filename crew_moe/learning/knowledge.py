"""What was learned until now, at hand for the next decision: read when it has changed, and never waited for."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from crew_moe.domain.policy import LearningPolicy
from crew_moe.domain.registry import Registry
from crew_moe.errors import StateError
from crew_moe.learning.arm_pages import ArmPages
from crew_moe.learning.arms import Arms
from crew_moe.learning.glance import Glance
from crew_moe.learning.knapsack import Pacing
from crew_moe.learning.preferences import EVERYBODY, Mean, Means, User, means_in
from crew_moe.learning.price import PricePage
from crew_moe.ports import Clock, EventSink, PageStore

MAX_USERS: Final = 1_000  # whose preferences are at hand

NOTHING: Final[Mapping[str, Mean]] = {}


class Known(NamedTuple):
    """As it stood when the pages had this version; `arms` are those of `registry`."""

    version: int = -1
    registry: Registry | None = None
    arms: Arms | None = None
    pacing: Pacing | None = None
    everybody: Means = NOTHING


class Knowledge:
    """Arms, price and preferences as they were read last; only of users who are asked for, and of those the newest
    MAX_USERS. Safe for threads; never raises StateError.
    """

    def __init__(self, pages: PageStore, policy: LearningPolicy, clock: Clock, sink: EventSink) -> None:
        self._pages = pages
        self._arms = ArmPages(pages, policy.bandit)
        self._price = None if policy.horizon is None else PricePage(pages, policy.horizon)
        self._clock = clock
        self._known = Known()
        self._wanted: Registry | None = None
        self._users: OrderedDict[User, tuple[int, Means]] = OrderedDict()
        self._asked: deque[User] = deque(maxlen=MAX_USERS)
        self._remote = bool(getattr(pages, "remote", False))
        self._glance = Glance(self._look, remote=self._remote, clock=clock, sink=sink)

    def current(self, registry: Registry) -> Known:
        """What is known of these experts; of some that have just joined, it may be nothing yet."""
        self._wanted = registry
        self._glance.passing()
        return self._known

    def begin(self, registry: Registry) -> None:
        """Read what there is, and wait for it: before the first decision."""
        self._wanted = registry
        self._glance.at_once()

    def of(self, user: User) -> Means:
        """What this user thinks of experts; over a network, what it thought when it was fetched last."""
        version, means = self._users.get(user, (-1, NOTHING))
        if version == self._known.version:
            return means
        if self._remote:
            self._asked.append(user)
            return means
        try:
            return self._fetch(user)
        except StateError:  # which the glance tells of
            return means

    def forget(self, user: str) -> None:
        """Drop what is at hand of a user."""
        for one in [known for known in tuple(self._users) if known.user == user]:
            self._users.pop(one, None)

    def close(self) -> None:
        """Read no more; idempotent."""
        self._glance.close()

    def _look(self) -> None:
        version, registry = self._pages.version(), self._wanted
        if version != self._known.version or registry is not self._known.registry:
            now = self._clock.now()
            self._known = Known(
                version=version,
                registry=registry,
                arms=None if registry is None else self._arms.read([one.expert_id for one in registry.experts], now),
                pacing=None if self._price is None else self._price.read(now),
                everybody=means_in(self._pages.read(EVERYBODY, now)),
            )
        while self._asked:
            self._fetch(self._asked.popleft())

    def _fetch(self, user: User) -> Means:
        means = means_in(self._pages.read(user.page, self._clock.now()))
        self._users[user] = (self._known.version, means)
        while len(self._users) > MAX_USERS:
            self._users.popitem(last=False)
        return means

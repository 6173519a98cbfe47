"""A router's own local gate: one expert of it that breaks takes no other one away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from crew_moe import Outcome, Router, RoutingRequest
from crew_moe.domain.outcome import Completion, ErrorClass
from crew_moe.errors import ExecutionFailed
from tests.catalog.writing import folder
from tests.router.given import decided, router

TEXT: Final = "What failed?\n\nThe pump failed at noon. The door is red."
MINE: Final = {"kind": "python", "class": "tests.router.test_hosted_experts:Broken"}
TRIES: Final = 10


class Broken:
    """An expert of the user's own, with a mistake in it."""

    def process(self, text: str) -> str:
        raise RuntimeError(f"no answer to {text}")


@pytest.fixture
def hosting(tmp_path: Path) -> Iterator[Router]:
    with router(config=folder(tmp_path, local={"experts": {"broken": MINE}})) as made:
        yield made


def test_a_hosted_expert_that_breaks_opens_its_own_breaker_alone(hosting: Router) -> None:
    pinned = RoutingRequest(text=TEXT, pin="local/broken", fallbacks=())
    failures = []
    for _ in range(TRIES):
        with pytest.raises(ExecutionFailed) as caught:
            hosting.complete(pinned)
        failures += [attempt.error for attempt in caught.value.attempts]

    assert failures[0] is ErrorClass.SERVER
    assert ErrorClass.CIRCUIT_OPEN in failures
    assert hosting.stats()["open_breakers"] == ["expert:local/broken"]
    done = hosting.complete(RoutingRequest(text=TEXT, pii="local_only"))
    assert isinstance(done, Completion)
    assert (done.expert_id, "pump" in done.text) == ("local/auto", True)


def test_outcomes_of_one_s_own_experts_open_no_provider_s_breaker() -> None:
    on = router()
    found = decided(on)
    for number in range(TRIES):
        on.record(Outcome(decision_id=found.decision_id, expert_id="local/ollama", success=False, attempt=number + 1))

    assert on.stats()["open_breakers"] == ["expert:local/ollama"]


def test_a_model_s_error_text_is_told_to_nobody(hosting: Router) -> None:
    with pytest.raises(ExecutionFailed) as caught:
        hosting.complete(RoutingRequest(text="the code is 0000", pin="local/broken", fallbacks=()))

    assert "0000" not in str(caught.value)
    assert "RuntimeError" in str(caught.value)

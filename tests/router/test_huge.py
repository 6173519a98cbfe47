"""Ten megabytes of prompt: one clear answer, soon."""

from __future__ import annotations

from pathlib import Path

from crew_moe import Infeasible, Router, RoutingRequest

HUGE = "word " * 2_000_000


def test_a_prompt_of_ten_megabytes_fits_nobody() -> None:
    with Router.from_config(state=":memory:", base_url="http://127.0.0.1:9") as router:
        found = router.complete(RoutingRequest(task_type="planning"), [{"role": "user", "content": HUGE}])

    assert isinstance(found, Infeasible)
    assert found.binding == "context_window"


def test_what_is_too_long_to_be_screened_goes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("screening: {injection: deny}\n", encoding="utf-8")
    with Router.from_config(tmp_path, state=":memory:", base_url="http://127.0.0.1:9") as router:
        found = router.complete(RoutingRequest(task_type="planning"), [{"role": "user", "content": HUGE}])

    assert isinstance(found, Infeasible)
    assert found.binding == "injection"
    assert "8,000,000 characters" in found.message

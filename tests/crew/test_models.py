"""What an agent's own model is to the router."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import LLM, BaseLLM

from crew_moe.crew.call import Sampling
from crew_moe.crew.models import AUTO, expert_of, is_default, sampling_of
from crew_moe.router import Router


class Custom(BaseLLM):
    """A user's own class, under a name that the catalogue knows too."""

    def call(self, *_: Any, **__: Any) -> str:
        return "mine"


@pytest.mark.parametrize(
    ("name", "expert_id"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("claude-opus-4", "claude-opus-4"),
        ("gemini/gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("local/extractive", "local/extractive"),
        ("azure/gpt-4o", None),
        ("my-own-tune", None),
        (None, None),
    ],
)
def test_names_of_models(name: str | None, expert_id: str | None, router: Router) -> None:
    assert expert_of(name, router.registry) == expert_id


def test_model_by_the_providers_own_id(router: Router) -> None:
    expert = router.registry["gpt-4o"]
    assert expert_of(LLM(model=f"openai/{expert.provider_model}"), router.registry) == "gpt-4o"


def test_model_behind_an_address_of_its_own_is_foreign(router: Router) -> None:
    assert expert_of(LLM(model="openai/gpt-4o", base_url="http://127.0.0.1:1/v1"), router.registry) is None


def test_class_of_the_users_own_is_foreign(router: Router) -> None:
    assert expert_of(Custom(model="gpt-4o"), router.registry) is None


def test_what_crewai_fills_in_is_no_preference() -> None:
    from crewai import Agent

    silent = Agent(role="r", goal="g", backstory="b")
    assert is_default(silent.llm)
    assert is_default(None)
    assert is_default(AUTO)
    assert not is_default(LLM(model="gpt-4o"))
    assert not is_default("gpt-4o")


def test_settings_that_are_kept() -> None:
    own = LLM(model="gpt-4o", temperature=0.1, max_completion_tokens=9, seed=3, stop=["END"])
    assert sampling_of(own) == Sampling(temperature=0.1, max_tokens=9, seed=3, stop=("END",))
    assert sampling_of("gpt-4o") == Sampling()

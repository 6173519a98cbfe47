"""What an agent's own `llm:` is to us: CrewAI's default, an expert of the catalogue, or a model that we don't know."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from crewai.llms.base_llm import BaseLLM
from crewai.utilities.llm_utils import create_llm

from crew_moe.crew.call import Sampling
from crew_moe.domain.registry import Registry

AUTO: Final = "crew-moe/auto"
"""The name of a model that leaves the choice to the router."""
_PROVIDERS: Final = {"gemini": "google", "vertex_ai": "google"}


def expert_of(llm: Any, registry: Registry) -> str | None:
    """The expert that this model (an LLM object or a name) is; None when the catalogue has none.

    A model behind an address of its own is never one of ours, nor is a class that is not CrewAI's: nobody knows what
    answers there.
    """
    if llm is None or getattr(llm, "base_url", None):
        return None
    if not isinstance(llm, str) and not type(llm).__module__.startswith("crewai."):
        return None
    name = llm if isinstance(llm, str) else str(getattr(llm, "model", ""))
    provider, _, rest = name.rpartition("/")
    if not isinstance(llm, str):
        provider = str(getattr(llm, "provider", "") or provider)
    provider = _PROVIDERS.get(provider, provider)
    for expert in registry:
        if name == expert.expert_id:
            return expert.expert_id
        if rest in (expert.expert_id, expert.provider_model) and provider in ("", expert.provider):
            return expert.expert_id
    return None


def is_default(llm: Any) -> bool:
    """Whether this names no model: absent, AUTO, or what CrewAI fills in for an agent that has none."""
    if llm is None or AUTO in (llm, getattr(llm, "model", None)):
        return True
    standard = _standard()
    if standard is None or isinstance(llm, str):
        return isinstance(llm, str) and standard is not None and llm == standard.model
    return bool((llm.model, llm.provider, llm.base_url) == (standard.model, standard.provider, standard.base_url))


def sampling_of(llm: Any) -> Sampling:
    """The settings on a model that are kept whichever expert serves."""
    if not isinstance(llm, BaseLLM):
        return Sampling()
    limit = llm.max_tokens or getattr(llm, "max_completion_tokens", None)
    return Sampling(
        temperature=llm.temperature,
        max_tokens=int(limit) if limit else None,
        seed=llm.seed,
        stop=tuple(llm.stop),
    )


@lru_cache(maxsize=1)
def _standard() -> BaseLLM | None:
    """CrewAI's own choice, from its environment variables or its constant; None when its package is missing."""
    try:
        return create_llm(None)
    except ImportError:
        return None

"""The only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict

from crew_moe.domain.expert import Expert


class Settings(BaseSettings):
    """Values of `CREW_MOE_*` variables; keys of experts are read by the names that the catalogue gives them."""

    model_config = SettingsConfigDict(env_prefix="CREW_MOE_", extra="ignore", frozen=True)

    disabled: bool = False
    config: Path | None = None
    state: str = ":memory:"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    log_format: Literal["console", "json"] = "console"
    log_key: str = ""


def api_key(expert: Expert) -> str | None:
    """The expert's key from its environment variable; None when it is unset or blank."""
    if expert.api_key_env is None:
        return None
    return os.environ.get(expert.api_key_env, "").strip() or None


def base_url(expert: Expert) -> str | None:
    """Where the expert is reached: its `base_url_env` when set in the environment, else its `base_url`."""
    override = os.environ.get(expert.base_url_env, "").strip() if expert.base_url_env else ""
    return override or expert.base_url


def has_credentials(expert: Expert) -> bool:
    """Whether the expert can be called: it needs no key, or its key is set."""
    return expert.api_key_env is None or api_key(expert) is not None

"""The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crew_moe.domain.complaint import complaint
from crew_moe.domain.expert import Expert
from crew_moe.errors import InvalidInput

PREFIX: Final = "CREW_MOE_"


class Settings(BaseModel):
    """Values of the `CREW_MOE_*` variables. Keys of experts are read by the names that the catalogue gives them.

    A plain pydantic model and os.environ: a settings library would cost more memory than everything else that the
    deciding core loads of its own.
    """

    model_config = ConfigDict(frozen=True)

    disabled: bool = False
    config: Path | None = None
    state: str = ":memory:"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    log_format: Literal["console", "json"] = "console"
    log_key: str = ""
    service_hosts: str = ""
    models: Path = Path(".crew_moe/models")
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_keys: str = ""
    api_keys: Path | None = None
    mcp_transport: Literal["stdio", "http"] = "stdio"
    mcp_host: str = "127.0.0.1"
    mcp_port: Annotated[int, Field(ge=0, le=65535)] = 8006
    mcp_allow_hosts: str = ""
    mcp_enable_writes: bool = False
    mcp_toolsets: str = ""
    mcp_project: Path | None = None
    mcp_live: bool = False
    mcp_rate: str = "6000/minute"

    serve_host: str = "127.0.0.1"
    serve_port: Annotated[int, Field(ge=0, le=65535)] = 8005
    serve_workers: Annotated[int, Field(ge=1, le=256)] = 1
    serve_allow_hosts: str = ""
    serve_cors_origins: str = ""
    serve_rate: str = "6000/minute"
    serve_max_body_bytes: Annotated[int, Field(ge=1024, le=1_000_000_000)] = 8_000_000
    serve_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    serve_drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    serve_live: bool = False
    serve_dev: bool = False
    serve_simulate: bool = False
    serve_providers: str = ""

    local_host: str = "127.0.0.1"
    local_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    local_allow_hosts: str = ""
    local_cors_origins: str = ""
    local_rate: str = "6000/minute"
    local_max_body_bytes: Annotated[int, Field(ge=1024, le=1_000_000_000)] = 8_000_000
    local_timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    local_drain_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    local_warm: str = ""

    @property
    def listed_hosts(self) -> tuple[str, ...]:
        """Hosts, networks and `*.domain`s where registered services may be, beside public ones."""
        return tuple(host for one in self.service_hosts.split(",") if (host := one.strip()))

    @model_validator(mode="after")
    def _tokens_whole(self) -> Self:
        parts = (self.jwt_keys, self.jwt_issuer, self.jwt_audience)
        if any(parts) and not all(parts):
            names = ("jwt_keys", "jwt_issuer", "jwt_audience")
            absent = [f"{PREFIX}{name.upper()}" for name, part in zip(names, parts, strict=True) if not part]
            raise ValueError(f"tokens need their keys, issuer and audience; not set: {', '.join(absent)}")
        return self


def read_settings() -> Settings:
    """The settings of this process. Raises InvalidInput, which names the variable and what it may hold."""
    names = {name: f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    read = {name: os.environ.get(variable, "").strip() for name, variable in names.items()}
    given = {name: value for name, value in read.items() if value}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        what, field, value, allowed = complaint(error, Settings)
    raise InvalidInput(what, where=names.get(field, f"{PREFIX}JWT_*"), value=value, allowed=allowed)


def hand_down(told: Mapping[str, str]) -> None:
    """Set these settings, by their names, for this process and for all that it starts."""
    os.environ.update({f"{PREFIX}{name.upper()}": value for name, value in told.items()})


def metrics_folder() -> Path | None:
    """Where processes that answer as one keep their metrics; named as Prometheus' own library reads it."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "").strip()
    return Path(folder) if folder else None


def share_metrics(folder: Path) -> None:
    """Let the processes that this one starts answer as one, by their metrics in this folder."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def keep_ray_home(*, alone: bool) -> None:
    """Let Ray tell nobody how it is used, start when it is told to, and, where it is on this machine `alone`, listen on
    loopback only, unless the environment says otherwise.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    if alone:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # its switch for more than one machine


def keep_hub_home() -> None:
    """Let the hub's library report nothing of its use, and ask nobody to convert a model, unless the environment says
    otherwise. It is read when that library is imported.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")


class Traces(StrEnum):
    """What the environment says of traces, by OpenTelemetry's own names."""

    OFF = "off"
    EXPORTED = "exported"
    AS_SET_UP = "as set up"


def traces_wanted() -> Traces:
    """EXPORTED where an OTLP endpoint is named, AS_SET_UP where nothing is: a program may have set up its own."""
    told = {name: os.environ.get(f"OTEL_{name}", "").strip() for name in _TRACES}
    if told["SDK_DISABLED"].lower() == "true" or told["TRACES_EXPORTER"].lower() == "none":
        return Traces.OFF
    named = told["EXPORTER_OTLP_ENDPOINT"] or told["EXPORTER_OTLP_TRACES_ENDPOINT"]
    return Traces.EXPORTED if named else Traces.AS_SET_UP


_TRACES: Final = ("SDK_DISABLED", "TRACES_EXPORTER", "EXPORTER_OTLP_ENDPOINT", "EXPORTER_OTLP_TRACES_ENDPOINT")


def api_key(expert: Expert) -> str | None:
    """The expert's key from its environment variable; None when it is unset or blank."""
    return key_in(expert.api_key_env)


def key_in(variable: str | None) -> str | None:
    """The key that this variable holds; None where none is named, and where it is unset or blank."""
    return None if variable is None else os.environ.get(variable, "").strip() or None


def base_url(expert: Expert) -> str | None:
    """Where the expert is reached: its `base_url_env` when set in the environment, else its `base_url`."""
    override = os.environ.get(expert.base_url_env, "").strip() if expert.base_url_env else ""
    return override or expert.base_url


def has_credentials(expert: Expert) -> bool:
    """Whether the expert can be called: it needs no key, or its key is set."""
    return expert.api_key_env is None or api_key(expert) is not None

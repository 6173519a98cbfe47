"""Experts that run in a server of their own: vLLM, SGLang, llama.cpp, Ollama, TGI, or whatever speaks OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crew_moe.local_gate.remote.host import RemoteHost

if TYPE_CHECKING:
    from crew_moe.domain.hosting import HostSpec
    from crew_moe.ports import Host


def open_remote(spec: HostSpec) -> Host:
    """The host of a server's model; nothing is asked of the server yet."""
    return RemoteHost(spec)

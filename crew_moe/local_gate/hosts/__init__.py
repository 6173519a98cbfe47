"""Hosted experts: opened by their kind, loaded when first used, and kept under a limit of memory."""

from crew_moe.local_gate.hosts.opening import open_host
from crew_moe.local_gate.hosts.pool import HostPool

__all__ = ["HostPool", "open_host"]

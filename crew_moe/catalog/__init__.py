"""Loads the catalogue and the policy from YAML into frozen domain values."""

from crew_moe.catalog.experts import load_registry
from crew_moe.catalog.locate import packaged_config
from crew_moe.catalog.policy import load_policy

__all__ = ["load_policy", "load_registry", "packaged_config"]

"""Simulated providers: a server on loopback that speaks OpenAI's chat API, plays every expert, and fails on cue."""

from crew_moe.sim.providers import Simulation, simulate
from crew_moe.sim.script import Rule, Script, load_script
from crew_moe.sim.switchboard import SimRequest

__all__ = ["Rule", "Script", "SimRequest", "Simulation", "load_script", "simulate"]

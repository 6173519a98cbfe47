"""The seams: every protocol behind which an implementation may be exchanged.

Each has an in-memory implementation that production uses too, and one contract suite in tests/contracts.
"""

from __future__ import annotations

from crew_moe.ports.ambient import Clock, EventSink, Watcher
from crew_moe.ports.calls import Host, LLMClient
from crew_moe.ports.choosing import Strategy, StrategyContext
from crew_moe.ports.feed import Feed, Subscription
from crew_moe.ports.money import Amount, Ledger, Meters
from crew_moe.ports.reading import Detector, Embedder, LanguageDetector
from crew_moe.ports.state import Approvals, DecisionLog, PageStore, StateStore

__all__ = [
    "Amount",
    "Approvals",
    "Clock",
    "DecisionLog",
    "Detector",
    "Embedder",
    "EventSink",
    "Feed",
    "Host",
    "LLMClient",
    "LanguageDetector",
    "Ledger",
    "Meters",
    "PageStore",
    "StateStore",
    "Strategy",
    "StrategyContext",
    "Subscription",
    "Watcher",
]

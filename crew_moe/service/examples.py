"""Bodies that the OpenAPI document shows, each of which works as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Examples = Mapping[str, Mapping[str, Any]]

REQUESTS: Final[Examples] = {
    "request": {
        "summary": "What the task needs",
        "value": {
            "task_type": "code_generation",
            "text": "Implement authentication API",
            "budget_usd": "0.01",
            "min_quality": 0.85,
            "requires": ["tools"],
        },
    },
    "work": {
        "summary": "A unit of work",
        "value": {
            "data": {"type": "inference", "data": [0.1, 0.2, 0.3], "priority": 0.8, "complexity": 0.5},
            "routing_strategy": "adaptive",
        },
    },
}
BATCHES: Final[Examples] = {
    "requests": {
        "summary": "Two tasks",
        "value": {
            "requests": [
                {"task_type": "documentation", "text": "Describe the API"},
                {"task_type": "security_audit", "text": "Audit the login", "tier": "premium"},
            ]
        },
    },
    "work": {
        "summary": "Units of work",
        "value": {
            "requests": [
                {"type": "inference", "data": [0.1, 0.2]},
                {"type": "storage", "data": {"key": "value"}},
                {"type": "consensus", "data": {"votes": [1, 0, 1]}},
            ]
        },
    },
}
OVERRIDES: Final[Examples] = {
    "strategy": {"summary": "Another strategy for an hour", "value": {"strategy": "rule", "minutes": 60}},
    "expert": {
        "summary": "One expert for a type of task",
        "value": {"expert_id": "gpt-4o", "task_type": "analysis", "minutes": 30, "reason": "incident 12"},
    },
    "clear": {"summary": "Back to the policy's own choice", "value": {"clear": True}},
}
SERVICES: Final[Examples] = {
    "service": {
        "summary": "A service that takes JSON",
        "value": {
            "service_id": "custom_processor",
            "service_type": "custom",
            "endpoint": "http://localhost:8006",
            "capabilities": ["processing", "analysis"],
            "max_capacity": 100,
        },
    }
}
REBALANCES: Final[Examples] = {
    "all": {"summary": "All services", "value": {}},
    "type": {"summary": "Those of one type", "value": {"service_type": "custom"}},
}
OUTCOMES: Final[Examples] = {
    "served": {
        "summary": "It went well",
        "value": {
            "decision_id": "d-8f7e01a9fc49baae-1",
            "expert_id": "gpt-4o",
            "success": True,
            "latency_ms": 1200,
            "cost_usd": "0.004",
        },
    }
}
FEEDBACK: Final[Examples] = {
    "merged": {
        "summary": "The answer was used",
        "value": {
            "decision_id": "d-8f7e01a9fc49baae-1",
            "source": "client-7",
            "outcome": "success",
            "quality": 0.92,
            "pr_merged": True,
        },
    }
}

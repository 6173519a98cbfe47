"""One set of access rules, in YAML and in Cedar: the same answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.catalog import load_policy
from crew_moe.domain.access import AccessRule
from crew_moe.domain.principal import Principal
from crew_moe.domain.task import Risk, TaskType
from crew_moe.gating.access import AccessControl, access_control
from crew_moe.gating.examples import Example, differences, load_examples
from crew_moe.strategies import STRATEGIES
from tests.gating.ruled import FIXTURES, REGISTRY, control
from tests.routing.given import STEADY

FORMS: Final = {name: control(FIXTURES / name) for name in ("rules", "cedar")}
POLICY: Final = load_policy(FIXTURES / "rules", REGISTRY, STRATEGIES)
EXAMPLES: Final = load_examples(FIXTURES / "examples.yaml", REGISTRY)
TENANTS: Final = st.sampled_from([None, "acme", "clinic", "globex", "Acme", 'acme"'])
CHANNELS: Final = st.sampled_from([None, "war-room", "lobby"])
PRINCIPALS: Final = st.builds(
    Principal,
    subject=st.sampled_from(["", "ada", "eve"]),
    tenant=TENANTS,
    roles=st.frozensets(st.sampled_from(["lead", "admin", "guest"])),
    workspace=st.sampled_from([None, "guests", "staff"]),
    channel=CHANNELS,
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_holds_in_this_form(form: str, example: Example) -> None:
    assert differences(example, FORMS[form], REGISTRY) == ()


@STEADY
@given(PRINCIPALS, st.sampled_from(Risk), st.sampled_from([None, "eu", "us", "moon"]), st.sampled_from(TaskType))
def test_both_forms_say_the_same(principal: Principal, risk: Risk, residency: str | None, task_type: TaskType) -> None:
    def asked(access: AccessControl) -> object:
        return access.demands(principal, risk=risk, residency=residency, task_type=task_type)

    assert asked(FORMS["rules"]) == asked(FORMS["cedar"])


@pytest.mark.parametrize("rule", POLICY.access, ids=lambda rule: rule.name)
def test_no_rule_could_be_dropped_unnoticed(rule: AccessRule) -> None:
    without = tuple(other for other in POLICY.access if other is not rule)
    access = access_control(replace(POLICY, access=without), REGISTRY)

    assert any(differences(example, access, REGISTRY) for example in EXAMPLES)

"""Names of scopes: what people write is what calls pay into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.domain.budget import ScopeKind
from crew_moe.domain.scope import scope_of, written_pattern, written_scope
from crew_moe.errors import InvalidInput

NAMES = st.text(min_size=1, max_size=120).filter(lambda name: name.isprintable() and name == name.strip())


@given(name=NAMES.filter(lambda name: "%" not in name and "*" not in name))
def test_a_tenant_as_people_write_it_is_the_tenant_that_pays(name: str) -> None:
    assert written_scope(f"tenant:{name}") == scope_of(ScopeKind.TENANT, name, None)


@given(name=NAMES, tenant=st.none() | NAMES)
def test_a_scope_that_was_copied_from_the_ledger_stays_as_it_is(name: str, tenant: str | None) -> None:
    scope = scope_of(ScopeKind.USER, name, tenant)

    assert written_scope(scope) == scope


@pytest.mark.parametrize(
    ("written", "pays"),
    [
        ("project:Acme Ltd/web shop", "project:Acme%20Ltd/web%20shop"),
        ("tenant:a/b", "tenant:a%2Fb"),
        ("user:acme/a/b", "user:acme/a%2Fb"),
        ("tenant:100%", "tenant:100%25"),
        ("user:acme/ada@acme.org", "user:acme/ada@acme.org"),
    ],
)
def test_signs_that_mean_something_in_a_scope_are_escaped(written: str, pays: str) -> None:
    assert written_scope(written) == pays


@pytest.mark.parametrize("pattern", ["run:*", "user:acme/*", "tenant:ac*"])
def test_a_pattern_is_no_scope(pattern: str) -> None:
    with pytest.raises(InvalidInput, match=r"no single scope; a limit for all of a kind stands in policy\.yaml"):
        written_scope(pattern)


def test_a_policy_speaks_of_all_of_a_kind_and_of_no_other_pattern() -> None:
    assert written_pattern("run:*") == "run:*"
    with pytest.raises(InvalidInput, match="no single scope"):
        written_pattern("user:acme/*")

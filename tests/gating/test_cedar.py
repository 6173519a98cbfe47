"""Access policies in Cedar: what they may say, how their mistakes are told, and that none is passed over."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from crew_moe.catalog import packaged_config
from crew_moe.domain.access import PolicyText
from crew_moe.domain.expert import Tier
from crew_moe.domain.registry import Registry
from crew_moe.domain.task import Risk, TaskType
from crew_moe.errors import ConfigError, MissingExtra
from crew_moe.gating.access import AccessControl
from crew_moe.gating.cedar import NOTHING_PERMITS, SCHEMA, cedar_rulebook
from crew_moe.gating.cedar_text import statements
from tests.gating.ruled import EVERYBODY, PERMIT_ALL, REGISTRY, control, forbidden, who, written

ODD = [
    'a"b',
    "a\\",
    "\n",
    'x"; permit(principal, action, resource); //',
    "тенант",
    "a\u200bb",
    "💥",
    'Tenant::"acme"',
    "\0",
]


def cedar(folder: Path, text: str) -> AccessControl:
    return control(written(folder, own=text))


def quoted(word: str) -> str:
    """The word as Cedar writes it, every character by its code."""
    return '"' + "".join(f"\\u{{{ord(char):x}}}" for char in word) + '"'


def test_what_a_project_forbids_lies_over_the_packaged_permission(tmp_path: Path) -> None:
    access = cedar(tmp_path, '@id("no o1") forbid (principal, action, resource == Expert::"o1");')

    assert forbidden(access, who()) == {"o1": ("no o1",)}


def test_a_rule_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    access = cedar(tmp_path, '// one\n\n  forbid (principal, action, resource == Expert::"o1");')

    assert forbidden(access, who())["o1"] == ("own.cedar:3",)


def test_a_project_may_want_everything_permitted_expressly(tmp_path: Path) -> None:
    text = 'permit (principal in Role::"lead", action, resource) when { resource.tier != Tier::"premium" };'
    access = control(written(tmp_path, default=text))

    assert forbidden(access, who()) == dict.fromkeys(EVERYBODY, (NOTHING_PERMITS,))
    assert set(forbidden(access, who("", "lead"))) == {e.expert_id for e in REGISTRY if e.tier is Tier.PREMIUM}


def test_a_default_that_says_nothing_permits_nothing(tmp_path: Path) -> None:
    assert set(forbidden(control(written(tmp_path, default="// empty\n")), who())) == EVERYBODY


def test_a_policy_in_a_folder_below_counts_too(tmp_path: Path) -> None:
    below = written(tmp_path) / "policies" / "teams"
    below.mkdir()
    (below / "Mine.CEDAR").write_text("forbid (principal, action, resource);", encoding="utf-8")

    assert forbidden(control(tmp_path), who())["o1"] == ("teams/Mine.CEDAR:1",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("forbid (principal, action, resource)", 1, "is no Cedar policy (unexpected end of input)"),
        ('\n// a; "comment\nforbid (principal);', 3, "is no Cedar policy"),
        (PERMIT_ALL + "forbid (principal, action, resource) when { 1 + };", 2, "unexpected token `}`"),
        ('permit (principal, action, resource) when { "open };\n', 1, "is no Cedar policy"),
        ('forbid (principal, action, resource == Expert::"gpt-4o-mni");', 1, "did you mean 'gpt-4o-mini'?"),
        ('forbid (principal, action, resource) when { resource.tier == Tier::"premum" };', 1, "mean 'premium'?"),
        ('forbid (principal, action, resource) when { resource.tier == "premium" };', 1, "String and Tier"),
        ('forbid (principal, action, resource) when { resource.provider == Provider::"opnai" };', 1, "mean 'openai'?"),
        ('forbid (principal, action, resource) when { context.risk == Risk::"hihg" };', 1, "did you mean 'high'?"),
        ('forbid (principal, action, resource) when { resource.teir == Tier::"fast" };', 1, "attribute `teir`"),
        ('forbid (principal, action, resource) when { context.residency == Region::"eu" };', 1, "optional attribute"),
        ('forbid (principal, action == Action::"rout", resource);', 1, "unrecognized action"),
        ("forbid (principal == ?principal, action, resource);", 1, "nothing would ever fill ?principal"),
        ('forbid (principal in Team::"a", action, resource);', 1, "Team"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        cedar(tmp_path, text)

    assert caught.value.file == str(tmp_path / "policies" / "own.cedar")
    assert caught.value.key.split(",")[0] == f"line {line}"


def test_a_mistake_names_the_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2, policy 'no premium': attribute `teir`"):
        cedar(tmp_path, '\n@id("no premium")\nforbid (principal, action, resource) when { resource.teir == 1 };')


def test_two_policies_of_one_name_are_refused(tmp_path: Path) -> None:
    policy = '@id("twin")\nforbid (principal, action, resource);\n'

    with pytest.raises(ConfigError, match=re.escape("another policy has the same name (own.cedar, line 1)")):
        cedar(tmp_path, policy * 2)


def test_a_file_of_policies_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "policies").write_text("forbid (principal, action, resource);", encoding="utf-8")

    with pytest.raises(ConfigError, match="policies: must be a folder"):
        control(tmp_path)


def test_policies_are_not_passed_over_where_cedar_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cedarpy", None)

    with pytest.raises(MissingExtra, match=re.escape("crew-moe[policy]")):
        cedar(tmp_path, "forbid (principal, action, resource);")


def test_the_packaged_policy_needs_no_cedar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cedarpy", None)

    assert not control(None)
    assert cedar_rulebook((), REGISTRY) is None


def test_a_policy_that_fails_forbids(tmp_path: Path) -> None:
    text = '@id("sum") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };'

    assert forbidden(cedar(tmp_path, text), who())["o1"] == ("sum (it failed)",)


@pytest.mark.parametrize("word", ODD)
def test_names_are_data_whatever_they_hold(tmp_path: Path, word: str) -> None:
    rules = f"permit (principal in Tenant::{quoted(word)}, action, resource);"
    access = control(written(tmp_path, default=rules))

    assert forbidden(access, who(tenant=word)) == {}
    for other in [*ODD, "acme", "", "\ud800"]:
        if other != word:
            assert set(forbidden(access, who(other, other, tenant=other, channel=word))) == EVERYBODY


def test_a_stranger_is_nobody_whom_a_policy_names(tmp_path: Path) -> None:
    access = control(written(tmp_path, default='permit (principal == User::"ada", action, resource);'))

    assert forbidden(access, who("ada")) == {}
    assert set(forbidden(access, who("grace"))) == set(forbidden(access, who())) == EVERYBODY


def test_residency_may_be_compared_with_the_regions_of_an_expert(tmp_path: Path) -> None:
    outside = "context has residency && !resource.regions.contains(context.residency)"
    access = cedar(tmp_path, f"forbid (principal, action, resource) when {{ {outside} }};")

    assert forbidden(access, who()) == {}
    assert "mistral-large-2" not in forbidden(access, who(), residency="eu")
    assert {"gpt-4o", "mistral-large-2"} <= forbidden(access, who(), residency="moon").keys()


def test_experts_that_no_policy_tells_apart_share_an_answer() -> None:
    text = 'forbid (principal, action, resource == Expert::"gpt-4o");'
    twins = [replace(REGISTRY["gpt-4o"], expert_id=name) for name in ("gpt-4o", "gpt-4o-b", "gpt-4o-c")]
    book = cedar_rulebook([PolicyText(name="a", file="a", text=PERMIT_ALL + text)], Registry(experts=tuple(twins)))
    assert book is not None

    asked = book.mentions.narrow(who(), Risk.LOW, None, TaskType.PLANNING)

    assert dict(book.forbids(asked)) == {"gpt-4o": "a:2"}


def test_threads_get_the_same_answers(tmp_path: Path) -> None:
    roles = [f"role{number % 7}" for number in range(140)]
    text = "".join(f'forbid (principal in Role::"role{n}", action, resource == Expert::"o1");' for n in range(0, 7, 2))
    access = cedar(tmp_path, text)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda role: bool(forbidden(access, who("", role))), roles))

    assert found == [int(role[-1]) % 2 == 0 for role in roles]


def test_a_file_is_taken_apart_at_the_ends_of_its_policies() -> None:
    text = '// no; end\n@id("a;b")\npermit (principal, action, resource); /* c */\n\nforbid "\\";"; // last;\nrest'

    found = list(statements(PolicyText(name="x", file="x", text=text)))

    assert [(one.line, one.text.split("\n")[-1]) for one in found] == [
        (2, "permit (principal, action, resource);"),
        (3, 'forbid "\\";";'),
        (6, "rest"),
    ]


def test_the_schema_has_the_package_s_own_words() -> None:
    schema = (packaged_config() / SCHEMA).read_text(encoding="utf-8")

    for kind, words in (("Tier", Tier), ("Risk", Risk), ("TaskType", TaskType)):
        enumerated = re.search(rf"entity {kind} enum \[(.*?)\]", schema, re.DOTALL)
        assert enumerated is not None
        assert re.findall(r'"(\w+)"', enumerated[1]) == list(words)

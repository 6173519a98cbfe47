"""Editing YAML by lines: the result says what it said before, and a routing block."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crew_moe.cli.routing_blocks import Edited, add_blocks, agent_block, task_block
from crew_moe.errors import ConfigError

STYLES = ("plain", "quoted", "literal", "folded", "kept", "list", "comment")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks") / "tasks.yaml"


def _edited(path: Path, text: str) -> Edited:
    path.write_bytes(text.encode())
    return add_blocks(text, path, task_block)


def _entry(name: str, style: str, indent: int) -> str:
    pad = " " * indent
    body = {
        "plain": f"{pad}description: Plan the work\n",
        "quoted": f'{pad}description: "Plan: the work"\n',
        "literal": f"{pad}description: |\n{pad}  Plan\n{pad}  # no comment\n\n",
        "folded": f"{pad}description: >-\n{pad}  Plan\n{pad}  the work\n",
        "kept": f"{pad}description: |+\n{pad}  Plan\n\n\n",
        "list": f"{pad}context:\n{pad}- one\n{pad}- two\n",
        "comment": f"{pad}description: Plan  # yes\n{pad}# inside\n# outside\n\n",
    }
    return f"{name}:\n{body[style]}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.lists(st.tuples(st.sampled_from(STYLES), st.sampled_from([1, 2, 4])), min_size=1, max_size=5),
    ending=st.sampled_from(["\n", "\r\n"]),
    closed=st.booleans(),
)
def test_only_routing_is_added(path: Path, entries: list[tuple[str, int]], ending: str, closed: bool) -> None:
    text = "".join(_entry(f"task{i}", style, indent) for i, (style, indent) in enumerate(entries))
    text = (text if closed else text.rstrip("\n")).replace("\n", ending)

    edited = _edited(path, text)

    before, after = yaml.safe_load(text), yaml.safe_load(edited.text)
    assert all(entry.pop("routing") for entry in after.values())
    assert after == before
    left = iter(edited.text.splitlines())
    assert all(line in left for line in text.splitlines())  # every old line, in the old order


def test_entry_in_one_line_is_left_to_its_owner(path: Path) -> None:
    text = "inline: {description: Plan}\nother:\n  description: Plan\n"

    edited = _edited(path, text)

    assert (edited.added, edited.skipped) == (("other",), ("inline",))
    assert edited.text.startswith("inline: {description: Plan}\n")


def test_alias_and_inherited_routing_are_left_alone(path: Path) -> None:
    text = "base: &base\n  description: Plan\n  routing: {tier: fast}\nsame: *base\nheir:\n  <<: *base\n  agent: a\n"

    edited = _edited(path, text)

    assert (edited.text, edited.added, edited.skipped) == (text, (), ())


def test_shared_entry_is_left_to_its_owner(path: Path) -> None:
    edited = _edited(path, "base: &base\n  description: Plan\nsame: *base\n")

    assert edited.added == ()
    assert edited.skipped == ("base", "same")


def test_no_yaml_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        _edited(path, "a: [")


def test_task_without_words_gets_a_guess_that_says_so() -> None:
    assert "a guess" in task_block({})[1]


def test_agent_with_a_model_of_its_own_is_told_that_it_no_longer_decides() -> None:
    assert "instead of llm" in agent_block({"llm": "gpt-4o"})[0]
    assert "defaults" in agent_block({})[0]

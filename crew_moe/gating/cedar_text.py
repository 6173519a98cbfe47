"""Cedar files, policy by policy, each checked where it stands: syntax, the names that it uses, and its types.

Cedar tells a mistake without its place, so the files are taken apart first.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from crew_moe.domain.access import PolicyText
from crew_moe.domain.expert import Tier
from crew_moe.domain.registry import Registry
from crew_moe.domain.task import Risk, TaskType
from crew_moe.errors import ConfigError

_PERMIT_ALL: Final = "permit(principal,action,resource);"
# A string (to the end of the file, if nobody closed it), a comment, the end of a policy, or anything else.
_TOKEN: Final = re.compile(
    r'"(?:\\.|[^"\\])*+(?:"|\\?\Z)|(?P<comment>//[^\n]*)|(?P<end>;)|[^"/;]+|.',
    re.DOTALL,
)
_POSITION: Final = re.compile(r"^for policy `policy\d+`[:,] ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One policy of a file: its text without comments, and the line where it begins."""

    source: PolicyText
    line: int
    text: str

    @property
    def permits_all(self) -> bool:
        return "".join(self.text.split()) == _PERMIT_ALL

    def error(self, what: str, *, name: str = "", value: object = None, allowed: Sequence[str] = ()) -> ConfigError:
        place = f"line {self.line}" + (f", policy '{name}'" if name else "")
        return ConfigError(what, file=self.source.file, key=place, value=value, allowed=allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CedarPolicy:
    """A policy that was checked. `name` is its `@id`, else its file and line; `named` are the entities that it names,
    by type; `reads_context` tells that it looks at what is asked for, not only at who asks.
    """

    name: str
    statement: Statement
    named: Mapping[str, frozenset[str]]
    reads_context: bool


def statements(policy: PolicyText) -> Iterator[Statement]:
    """The policies of a file in their order."""
    line, begins, text = 1, 0, ""
    for token in _TOKEN.finditer(policy.text):
        word = token[0]
        if token["comment"] is None:
            leading = len(word) - len(word.lstrip())
            if not begins and leading < len(word):
                begins = line + word.count("\n", 0, leading)
            text += word
        line += word.count("\n")
        if token["end"] is not None:
            yield Statement(source=policy, line=begins, text=text.strip())
            begins, text = 0, ""
    if text.strip():
        yield Statement(source=policy, line=begins, text=text.strip())


def checked(cedar: ModuleType, schema: Any, found: Sequence[Statement], registry: Registry) -> tuple[CedarPolicy, ...]:
    """The policies, none of which has a mistake. Raises ConfigError, which names file, line and policy."""
    words = {
        "Expert": sorted(registry.by_id),
        "Provider": registry.providers,
        "Risk": tuple(Risk),
        "TaskType": tuple(TaskType),
        "Tier": tuple(Tier),
    }
    policies = tuple(_parsed(cedar, statement) for statement in found)
    _check_names(policies)
    for policy in policies:
        _check_words(policy, words)
        _check_types(cedar, schema, policy)
    return policies


def _parsed(cedar: ModuleType, statement: Statement) -> CedarPolicy:
    try:
        tree = json.loads(cedar.policies_to_json_str(statement.text))
    except (ValueError, RecursionError) as error:
        raise statement.error(f"is no Cedar policy ({error})") from None
    if tree["templates"] or len(tree["staticPolicies"]) != 1:
        raise statement.error("nothing would ever fill ?principal or ?resource; name whom it is about")
    (policy,) = tree["staticPolicies"].values()
    name = policy.pop("annotations", {}).get("id")
    nodes = list(_mappings(policy))
    named: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        if isinstance(node.get("type"), str) and isinstance(node.get("id"), str):
            named[node["type"]].add(node["id"])
    return CedarPolicy(
        name=name or f"{statement.source.name}:{statement.line}",
        statement=statement,
        named={kind: frozenset(ids) for kind, ids in named.items()},
        reads_context={"Var": "context"} in nodes,
    )


def _mappings(tree: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a JSON document."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _check_names(policies: Sequence[CedarPolicy]) -> None:
    """A name says which policy it was, so no two share one, but for those that stand unnamed on one line."""
    seen: dict[str, Statement] = {}
    for policy in policies:
        twin = seen.setdefault(policy.name, policy.statement)
        if (twin.source, twin.line) != (policy.statement.source, policy.statement.line):
            place = f"{twin.source.name}, line {twin.line}"
            raise policy.statement.error(f"another policy has the same name ({place})", name=policy.name)


def _check_words(policy: CedarPolicy, words: Mapping[str, Sequence[str]]) -> None:
    for kind, allowed in words.items():
        for word in sorted(policy.named.get(kind, frozenset()) - {*allowed}):
            what = f'{kind}::"{word}" does not exist'
            raise policy.statement.error(what, name=policy.name, value=word, allowed=allowed)


def _check_types(cedar: ModuleType, schema: Any, policy: CedarPolicy) -> None:
    for error in cedar.validate_policies(policy.statement.text, schema).errors:
        raise policy.statement.error(_POSITION.sub("", error.error), name=policy.name)

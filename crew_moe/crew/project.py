"""A project: the crew of a folder, run on behalf of callers who are somewhere else.

What a caller gets back is a value that says how the run ended and what each task cost, never a traceback; CrewAI is
loaded with the first run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final

from crew_moe.crew.context import asked_of_callers
from crew_moe.crew.crew_run import CrewRun
from crew_moe.crew.files import CrewFiles, read_files
from crew_moe.crew.plan import load_plan
from crew_moe.crew.quiet import hush
from crew_moe.crew.watch import Told
from crew_moe.domain.money import parse_usd
from crew_moe.domain.principal import Principal
from crew_moe.errors import ConfigError, InvalidInput
from crew_moe.ports import Amount

if TYPE_CHECKING:
    from crewai.tools import BaseTool

    from crew_moe.router import Router

_LOADING: Final = Lock()
_SCALARS: Final = (str, int, float, bool)


class Project:
    """The crew in a folder's agents.yaml and tasks.yaml. `tools` are those that its files may name.

    Raises ConfigError for files that are wrong, and for a crew that nobody can run from afar: one that asks somebody
    at the terminal, or lets a caller's words name the file that a task writes.
    """

    def __init__(self, router: Router, folder: str | Path, *, tools: Mapping[str, BaseTool] | None = None) -> None:
        self._router = router
        self._files = read_files(Path(folder))
        self._tools = tools
        self._placeholders = asked_of_callers(self._files)
        _check_distance(self._files, self._placeholders)
        plan = load_plan(self._files.folder)
        plan.check(router.registry, router.policy)
        plan.check_tasks(self._files.tasks)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self._files.tasks)

    @property
    def placeholders(self) -> frozenset[str]:
        """The inputs that a run needs; the routing context comes on top by itself."""
        return self._placeholders

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        principal: Principal | None = None,
        budget_usd: Amount | None = None,
        progress: Told | None = None,
        cancel: Event | None = None,
    ) -> CrewRun:
        """Run the crew on these inputs, for `principal`, within `budget_usd` and all limits that hold anyway.

        `progress` is called as each task begins and ends, in the thread that works on it; once `cancel` is set, no
        further model is called. Blocks; safe in many threads at once. Raises InvalidInput for wrong inputs, ConfigError
        for files that went wrong meanwhile, MissingExtra without CrewAI, and StateError when budgets can't be asked.
        """
        self._check(inputs)
        limit = None if budget_usd is None else parse_usd(budget_usd, where="budget_usd")
        return _loaded()(
            self._router,
            self._files,
            inputs,
            principal=principal,
            budget_usd=limit,
            tools=self._tools,
            told=progress,
            cancel=cancel,
        )

    def _check(self, inputs: Mapping[str, Any]) -> None:
        """All that is wrong with the inputs, in one error that shows no value."""
        missing = sorted(self._placeholders - inputs.keys())
        unknown = sorted(str(name) for name in inputs.keys() - self._placeholders)
        odd = sorted(name for name in self._placeholders & inputs.keys() if not isinstance(inputs[name], _SCALARS))
        told = {"missing": missing, "unknown": unknown, "must be text, a number or a truth value": odd}
        wrong = [f"{what}: {', '.join(names)}" for what, names in told.items() if names]
        if wrong:
            raise InvalidInput(
                "; ".join(wrong),
                where="inputs",
                value=unknown[0] if unknown else None,
                allowed=sorted(self._placeholders),
            )


def _check_distance(files: CrewFiles, callers: frozenset[str]) -> None:
    for name, entry in files.tasks.items():
        if isinstance(entry, Mapping) and entry.get("human_input"):
            what = "asks somebody at the terminal, and nobody sits there when callers run the crew"
            raise ConfigError(what, file=files.tasks_file, key=f"{name}.human_input")
    for name, found in files.in_paths.items():
        if not callers.isdisjoint(found):
            what = "lets callers choose which file is written"
            raise ConfigError(what, file=files.tasks_file, key=f"{name}.output_file")


def _loaded() -> Callable[..., CrewRun]:
    """What runs a crew; loaded once, and in one thread: CrewAI's modules import each other in circles."""
    hush()
    with _LOADING:
        from crew_moe.crew import kick_off

    return kick_off

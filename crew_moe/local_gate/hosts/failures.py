"""What goes wrong in a hosted expert, as HostFailed: never with a word of the text that was given."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from typing import Final, TypeVar

from crew_moe.domain.local_work import Trouble
from crew_moe.errors import HostFailed, MissingExtra

T = TypeVar("T")

FREE_MEMORY: Final = (
    "raise `memory_limit_mb`, or host fewer or smaller models",
    "set `quantisation: int8` or a smaller `chunk_tokens`",
)
LIBRARIES: Final = ("torch", "transformers", "tokenizers")
_NO_MEMORY: Final = ("not enough memory", "out of memory", "can't allocate memory")


def guarded(call: Callable[[], T]) -> T:
    """The call's answer; whatever it raises becomes HostFailed. Nothing keeps the failed call's tensors alive."""
    try:
        return call()
    except HostFailed:
        raise
    except Exception as error:  # noqa: BLE001 - a model may raise anything; what it was is told by its class
        failed = failure_of(error)
    if failed.trouble is Trouble.OUT_OF_MEMORY:
        give_memory_back()
    raise failed


def failure_of(error: Exception) -> HostFailed:
    """The refusal that an exception amounts to; its own words may hold the text, so they stay out."""
    if isinstance(error, MissingExtra):
        return missing_extra(error.extra, error.module)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in LIBRARIES:
        return missing_extra("local", str(error.name))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_about_memory(error)):
        return HostFailed(Trouble.OUT_OF_MEMORY, "there is not enough memory for this", next_steps=FREE_MEMORY)
    what = f"the model failed ({type(error).__name__}{_place(error)})"
    return HostFailed(Trouble.MODEL_FAILED, what, next_steps=("try again, or another expert",))


def missing_extra(extra: str, module: str) -> HostFailed:
    step = f"pip install 'crew-moe[{extra}]'"
    return HostFailed(Trouble.MISSING_EXTRA, f"'{module}' is not installed", next_steps=(step,))


def missing_weights(what: str, *steps: str) -> HostFailed:
    return HostFailed(Trouble.MISSING_WEIGHTS, what, next_steps=steps)


def bad_weights(what: str) -> HostFailed:
    return HostFailed(Trouble.BAD_WEIGHTS, what, next_steps=("fetch or train the model anew",))


def give_memory_back() -> None:
    """What is garbage goes now, on the device too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def retold(error: HostFailed) -> HostFailed:
    """The same refusal once more; an exception that is raised twice gathers tracebacks."""
    return HostFailed(error.trouble, error.what, next_steps=error.next_steps, retry_after_s=error.retry_after_s)


def _place(error: Exception) -> str:
    """The file and line that it came from, as far as they are known; of code that can't be read, its own."""
    if isinstance(error, SyntaxError) and str(error.filename).endswith(".py"):
        return f" in {Path(str(error.filename)).name}, line {error.lineno}"
    frames = extract_tb(error.__traceback__)
    return f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def _is_about_memory(error: RuntimeError) -> bool:
    """torch.OutOfMemoryError is a RuntimeError, and its allocator for the CPU raises a bare one."""
    return any(words in str(error).lower() for words in _NO_MEMORY)

"""DeepSpeed, in a folder of its own beside this torch; made on first use, without building its kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ROOT / ".venv-deepspeed"
WANTED: Final = ("deepspeed==0.19.8", "einops", "hjson", "msgpack", "psutil")
WORKER: Final = Path(__file__).with_name("deepspeed_worker.py")


def importable() -> Path:
    """A folder to import deepspeed from; what else it needs at import is there already."""
    ready = FOLDER / ".ready"
    said = " ".join(WANTED)
    if not ready.is_file() or ready.read_text(encoding="utf-8") != said:
        install = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-deps",
            "--upgrade",
        ]
        environment = {**os.environ, "DS_BUILD_OPS": "0"}
        subprocess.run([*install, "--target", str(FOLDER), *WANTED], env=environment, check=True)
        ready.write_text(said, encoding="utf-8")
    return FOLDER


def answers(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What DeepSpeed answers to each case; `folder` is scratch space."""
    asked, answered = folder / "asked.json", folder / "answered.json"
    asked.write_text(json.dumps(cases), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(importable()), "DS_BUILD_OPS": "0"}
    command = [sys.executable, "-W", "ignore", str(WORKER), str(asked), str(answered)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    told: list[dict[str, Any]] = json.loads(answered.read_text(encoding="utf-8"))
    return told

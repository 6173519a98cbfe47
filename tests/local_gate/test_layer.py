from __future__ import annotations

import subprocess
import sys

from tests.structure.source import ROOT

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import crew_moe.local_gate
try:
    import crew_moe.local_gate.layer
except ImportError as missing:
    print(type(missing).__name__, missing)
"""


def test_layer_says_which_extra_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "MissingExtra 'torch' is not installed; run: pip install 'crew-moe[local]'\n"


def test_local_gate_loads_no_torch() -> None:
    code = "import sys, crew_moe.local_gate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"

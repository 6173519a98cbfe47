"""A model runs where the spec says, in the numbers that it says; int8 takes less memory and says about the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec, Quantisation
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import open_host
from crew_moe.ports import Host
from tests.local_gate.hosts.weights_folders import Tiny, tiny

torch = pytest.importorskip("torch", reason="torch is not installed")

__all__ = ["tiny"]  # a fixture


def loaded(folder: Path, kind: str = "classifier", **told: Any) -> Host:
    host = open_host(HostSpec(name="it", kind=HostKind(kind), path=folder, max_output_tokens=4, **told))
    host.load()
    return host


def test_auto_is_float32_on_a_machine_without_accelerator() -> None:
    from crew_moe.local_gate.hosts.device import device_of, dtype_of

    spec = HostSpec(name="it", kind=HostKind.BYT5)

    device = device_of(spec)
    assert device.type == ("cuda" if torch.cuda.is_available() else device.type)
    assert dtype_of(spec, torch.device("cpu")) is torch.float32
    assert dtype_of(spec, torch.device("cuda")) is torch.bfloat16


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"device": "fridge"}, "'fridge' is no device"),
        ({"device": "xpu"}, "this machine has no 'xpu'"),
        ({"dtype": "float33"}, "did you mean 'float32'"),
        ({"dtype": "bfloat16", "quantisation": Quantisation.INT8}, "int8 is made from float32"),
    ],
)
def test_what_this_machine_cannot_do_is_told(tiny: Tiny, told: dict[str, Any], what: str) -> None:
    with pytest.raises(HostFailed, match=what) as failed:
        loaded(tiny("classifier"), **told)

    assert failed.value.trouble is Trouble.UNAVAILABLE
    assert failed.value.next_steps


def test_half_the_numbers_take_half_the_memory(tiny: Tiny) -> None:
    whole = loaded(tiny("classifier"), dtype="float32").health().memory_bytes
    half = loaded(tiny("classifier"), dtype="bfloat16").health().memory_bytes

    assert half == pytest.approx(whole / 2, rel=0.05)


@pytest.mark.parametrize(
    ("name", "kind"), [("byt5", "byt5"), ("codet5", "codet5"), ("led", "longformer"), ("classifier", "classifier")]
)
def test_int8_answers_and_embeds_nearly_as_before(tiny: Tiny, name: str, kind: str) -> None:
    text = "The pump failed at noon."
    whole = loaded(tiny(name), kind)
    small = loaded(tiny(name), kind, quantisation=Quantisation.INT8)

    assert isinstance(small.process([Work(text=text)])[0], Made)
    assert float(small.embed([text])[0] @ whole.embed([text])[0]) > 0.99
    assert small.health().memory_bytes < whole.health().memory_bytes
    assert small.version != whole.version


def test_int8_weights_take_a_byte_each() -> None:
    from crew_moe.local_gate.hosts.device import memory_bytes, quantised

    model = torch.nn.Sequential(torch.nn.Linear(256, 256, bias=False)).eval()
    before = memory_bytes(model)

    after = memory_bytes(quantised(model))

    assert before == 256 * 256 * 4
    assert after == 256 * 256 + 256 * 12


def test_tied_weights_count_once() -> None:
    from crew_moe.local_gate.hosts.device import memory_bytes

    one, other = torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8, bias=False)
    other.weight = one.weight

    assert memory_bytes(torch.nn.Sequential(one, other)) == 8 * 8 * 4

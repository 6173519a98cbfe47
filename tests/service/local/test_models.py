"""Real models behind the service: tiny ones, with random weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from crew_moe.catalog.local import load_local
from crew_moe.local_gate.serving import LocalGate
from tests.catalog.writing import folder
from tests.local_gate.hosts.weights_folders import Tiny
from tests.service.local.serving import Local, serving
from tests.service.openai_api.chatting import text_of

MODELS: Final = {"byt5": "byt5", "longformer": "led"}
TOKENS: Final = 8


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """A configuration whose experts' weights lie beside it."""
    config = tmp_path_factory.mktemp("config")
    for name, model in MODELS.items():
        shutil.copytree(tiny(model), config / name)
    experts = {name: {"kind": name, "path": name, "max_output_tokens": TOKENS} for name in MODELS}
    return folder(config, local={"experts": experts})


@pytest.fixture(scope="module")
def local(weights: Path) -> Iterator[Local]:
    with serving(LocalGate.open(load_local(weights)), config=weights) as found:
        yield found


@pytest.mark.parametrize("expert", MODELS)
def test_a_model_s_answer_has_its_version_and_its_tokens(local: Local, expert: str) -> None:
    row = local.process("The pump failed at noon.", expert=expert).json()

    assert (row["expert_used"], row["finish_reason"]) == (expert, "length")
    assert row["usage"]["output_tokens"] == TOKENS
    assert row["model_version"] == local.client.get("/health").json()["experts"][expert]["version"] != ""


def test_an_embedding_is_of_length_one(local: Local) -> None:
    vector = local.process("The pump failed.", task="embed", expert="byt5").json()["result"]

    assert sum(number * number for number in vector) == pytest.approx(1.0, abs=1e-4)


def test_a_chat_streams_token_by_token(local: Local) -> None:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key="unused") as client:
        messages: list[Any] = [{"role": "user", "content": "say something"}]
        chunks = list(client.chat.completions.create(model="moe-expert-byt5", messages=messages, stream=True))

    pieces = [chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert len(text_of(chunks)) == TOKENS


def test_the_gate_chooses_among_them(local: Local) -> None:
    row = local.process("Analyze this product ID: XJ-2023/Ω§-556*").json()

    assert row["expert_used"] in {*MODELS, "extractive"}
    assert 0 < row["confidence"] <= 1


def test_no_request_is_dropped_while_models_are_loaded_anew(local: Local) -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(local.process, f"request {number}", expert="byt5") for number in range(12)]
        done = local.client.post("/admin/reload-models", json={"experts": ["byt5"]}).json()

    assert done == {"reloaded": ["byt5"], "failed": {}}
    assert {answer.result().status_code for answer in asked} == {200}


def test_spoiled_weights_are_told_and_mended_ones_taken(weights: Path) -> None:
    file = next((weights / "longformer").glob("*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with serving(LocalGate.open(load_local(weights)), config=weights) as local:
        spoiled = local.process("x", expert="longformer")
        others = local.process("The pump failed.", expert="byt5")
        file.write_bytes(whole)
        mended = local.client.post("/admin/reload-models", json={"experts": ["longformer"]}).json()
        again = local.process("x", expert="longformer")

    assert (spoiled.status_code, spoiled.json()["code"]) == (503, "bad_weights")
    assert (others.status_code, mended["reloaded"], again.status_code) == (200, ["longformer"], 200)

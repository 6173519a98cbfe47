"""LED and Longformer take long texts: by windows, with a first token that sees all, and by chunks beyond that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import open_host
from tests.local_gate.hosts.weights_folders import Tiny, tiny

__all__ = ["tiny"]  # a fixture
LONG = "The pump failed at noon. " * 40


def model(tiny: Tiny, name: str, **told: Any) -> Any:
    pytest.importorskip("torch", reason="torch is not installed")
    from crew_moe.local_gate.longformer import open_model

    folder = tiny(name)
    return open_model(HostSpec(name="it", kind=HostKind.LONGFORMER, path=folder, **told))


def made(answer: Made | HostFailed) -> Made:
    assert isinstance(answer, Made), answer
    return answer


@pytest.mark.parametrize("name", ["led", "longformer"])
def test_first_token_attends_to_all_and_lengths_are_whole_windows(tiny: Tiny, name: str) -> None:
    from crew_moe.local_gate.hosts.generation import encoded

    it = model(tiny, name)
    extras = it.extras if name == "led" else it._extras
    batch = encoded(it.loaded, ["The pump failed.", "x"], extras)

    assert batch["input_ids"].shape[1] % 8 == 0
    assert batch["global_attention_mask"].sum(dim=1).tolist() == [1, 1]
    assert batch["global_attention_mask"][:, 0].tolist() == [1, 1]


def test_summary_of_chunks_is_summarised_until_it_is_short_enough(tiny: Tiny) -> None:
    it = model(tiny, "led", chunk_tokens=32, max_output_tokens=8)

    (answer,) = it.process([Work(text=LONG)])

    assert it.measure(made(answer).text) <= 3 * 8
    assert made(answer).input_tokens > 300  # all of the text was read


def test_text_within_the_window_is_read_at_once(tiny: Tiny) -> None:
    it = model(tiny, "led", max_output_tokens=8)

    job = it._job(Work(text="The pump failed. The door is red."))

    assert [row.prompt for row in job.rows] == ["The pump failed. The door is red."]


def test_answer_is_no_longer_than_the_decoder_can_count(tiny: Tiny) -> None:
    it = model(tiny, "led", max_output_tokens=1000)

    assert made(it.process([Work(text="The pump failed.")])[0]).output_tokens == 63


def test_model_of_our_own_gets_the_document_alone(tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny("led"), tmp_path / "taught")
    task = {"prefix": "", "patterns": ["summar"]}
    told = {"kind": "longformer", "tasks": {"summary": task}, "trained": {"steps": 1, "seconds": 1.0, "seed": 1}}
    (tmp_path / "taught" / "crew_moe.json").write_text(json.dumps(told), encoding="utf-8")
    it = model(lambda _: tmp_path / "taught", "led")

    jobs = [it._job(Work(text=text)) for text in ("Summarize this report: The pump failed.", "The door is red.")]

    assert [job.rows[0].prompt for job in jobs] == ["The pump failed.", "The door is red."]


def test_stream_of_a_long_text_is_its_last_summary(tiny: Tiny) -> None:
    it = model(tiny, "led", chunk_tokens=32, max_output_tokens=8)

    assert "".join(it.stream(Work(text=LONG))) == made(it.process([Work(text=LONG)])[0]).text


def test_longformer_embeds_long_texts_by_chunks(tiny: Tiny) -> None:
    import numpy as np

    it = model(tiny, "longformer")

    rows = it.embed([LONG, "The pump failed at noon.", "? ! ?"])

    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2]


def test_longformer_without_a_decoder_makes_no_texts(tiny: Tiny) -> None:
    host = open_host(HostSpec(name="it", kind=HostKind.LONGFORMER, path=tiny("longformer")))
    host.load()

    (refused,) = host.process([Work(text="x")])

    assert isinstance(refused, HostFailed)
    assert refused.trouble is Trouble.NOT_CAPABLE
    with pytest.raises(HostFailed, match="no decoder"):
        list(host.stream(Work(text="x")))

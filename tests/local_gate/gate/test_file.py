"""A gate's files: what comes back, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crew_moe.domain.digest import canonical, checksum
from crew_moe.errors import ConfigError
from crew_moe.local_gate.gate.file import GateFile
from crew_moe.local_gate.gate.training import fit
from tests.local_gate.gate.given import QUICK, small_lessons


@pytest.fixture(scope="module")
def gate() -> GateFile:
    return GateFile(network=fit(small_lessons(), QUICK), provenance={"rows": 24})


def test_saved_gate_comes_back_and_is_written_again_alike(gate: GateFile, tmp_path: Path) -> None:
    lessons = small_lessons()

    loaded = gate.save(tmp_path / "new" / "folder")
    again = loaded.save(tmp_path / "again")

    assert again.version == loaded.version
    assert (tmp_path / "again/gate.npz").read_bytes() == (tmp_path / "new/folder/gate.npz").read_bytes()
    assert loaded.provenance == {"rows": 24}
    assert loaded.network.experts == gate.network.experts
    assert loaded.network.logits(lessons.vectors) == pytest.approx(gate.network.logits(lessons.vectors), abs=1e-4)


def _changed_number(folder: Path) -> None:
    raw = bytearray((folder / "gate.npz").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "gate.npz").write_bytes(raw)


def _changed_word(folder: Path) -> None:
    path = folder / "gate.json"
    path.write_text(path.read_text().replace("marked", "masked"))


def _rewritten(**fields: object) -> Callable[[Path], None]:
    """A manifest that is right in itself, but not for this package."""

    def rewrite(folder: Path) -> None:
        path = folder / "gate.json"
        document = {**json.loads(path.read_text()), **fields}
        document.pop("digest")
        document["digest"] = checksum(canonical(document))
        path.write_text(json.dumps(document))

    return rewrite


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a number": (_changed_number, "does not hold the numbers that were trained"),
    "a word": (_changed_word, "was changed after training"),
    "no JSON": (lambda folder: (folder / "gate.json").write_text("{"), "is no JSON"),
    "a list": (lambda folder: (folder / "gate.json").write_text("[]"), "is not the manifest of a gate"),
    "something else": (lambda folder: (folder / "gate.json").write_text('{"a": 1}'), "is not the manifest"),
    "no numbers": (lambda folder: (folder / "gate.npz").unlink(), "can't be read"),
    "another format": (_rewritten(format=2), "is no gate of format 1"),
    "other features": (_rewritten(features="old"), "features of another version; train it again"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_file_that_is_not_right_is_refused(
    gate: GateFile, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    gate.save(tmp_path)
    damage(tmp_path)

    with pytest.raises(ConfigError, match=message) as caught:
        GateFile.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_folder_that_can_not_be_written_is_named(gate: GateFile, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="can't be written"):
        gate.save(tmp_path / "file")


def test_feature_without_a_say_survives_the_file(gate: GateFile, tmp_path: Path) -> None:
    loaded = gate.save(tmp_path)

    assert np.array_equal(np.isinf(loaded.network.scale), np.isinf(gate.network.scale))
    assert np.isinf(loaded.network.scale).any()

"""A model's folder appears whole, takes another's place only by force, and leaves nothing when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from crew_moe.errors import InvalidInput
from crew_moe.local_gate.demo.folder import new_folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "demo"


def test_folder_is_there_when_the_block_ends(target: Path) -> None:
    with new_folder(target) as made:
        (made / "weights").write_text("new", encoding="utf-8")
        assert not target.exists()

    assert [path.name for path in target.parent.iterdir()] == ["demo"]
    assert (target / "weights").read_text(encoding="utf-8") == "new"


def _old(target: Path) -> None:
    target.mkdir(parents=True)
    (target / "weights").write_text("old", encoding="utf-8")


def test_old_folder_gives_way_to_force_alone(target: Path) -> None:
    _old(target)

    with pytest.raises(InvalidInput, match="is there already"), new_folder(target):
        pytest.fail("was begun")
    with new_folder(target, force=True) as made:
        (made / "config").write_text("new", encoding="utf-8")

    assert [path.name for path in target.iterdir()] == ["config"]
    assert [path.name for path in target.parent.iterdir()] == ["demo"]


def test_failure_leaves_the_old_one_and_nothing_else(target: Path) -> None:
    _old(target)

    def interrupted() -> None:
        with new_folder(target, force=True) as made:
            (made / "weights").write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert [path.name for path in target.parent.iterdir()] == ["demo"]
    assert (target / "weights").read_text(encoding="utf-8") == "old"


def test_old_one_is_put_back_when_the_new_one_can_not_take_its_place(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _old(target)
    rename, refused = Path.rename, list[Path]()

    def refuse_once(self: Path, to: Path) -> Path:
        if to == target and not refused:
            refused.append(self)
            raise PermissionError
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse_once)
    with pytest.raises(PermissionError), new_folder(target, force=True) as made:
        (made / "weights").write_text("new", encoding="utf-8")

    assert (target / "weights").read_text(encoding="utf-8") == "old"
    assert [path.name for path in target.parent.iterdir()] == ["demo"]


def test_folder_that_came_meanwhile_is_not_overwritten(target: Path) -> None:
    with pytest.raises(InvalidInput, match="is there already"), new_folder(target):
        _old(target)

    assert (target / "weights").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("force", [True, False])
def test_what_is_no_folder_is_never_replaced(target: Path, force: bool) -> None:
    target.parent.mkdir()
    target.write_text("mine", encoding="utf-8")

    with pytest.raises(InvalidInput, match="is not a folder"), new_folder(target, force=force):
        pytest.fail("was begun")

    assert target.read_text(encoding="utf-8") == "mine"


def test_link_is_never_replaced(target: Path, tmp_path: Path) -> None:
    target.parent.mkdir()
    target.symlink_to(tmp_path, target_is_directory=True)

    with pytest.raises(InvalidInput, match="is not a folder"), new_folder(target, force=True):
        pytest.fail("was begun")


def test_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    told = r"file/demo: can't be written \(Not a directory\)"
    with pytest.raises(InvalidInput, match=told), new_folder(tmp_path / "file" / "demo"):
        pytest.fail("was begun")

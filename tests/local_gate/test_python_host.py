"""A class of the user's own is hosted, whether it is simple, of seed 003's shape, or a whole Host."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from textwrap import dedent

import pytest

from crew_moe.domain.hosting import HostKind, HostSpec
from crew_moe.domain.local_work import Loaded, Made, Trouble, Work
from crew_moe.errors import HostFailed
from crew_moe.local_gate.hosts import open_host
from crew_moe.ports import Host

SECRET = "zanzibar"
Write = Callable[..., Host]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Write]:
    """A host of a class that is written here; its module is forgotten afterwards."""
    before = set(sys.modules)

    def write(source: str, *, module: str = "own_expert_under_test", **told: object) -> Host:
        (tmp_path / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        spec = HostSpec(name="own", kind=HostKind.PYTHON, class_path=f"{module}:Own", path=tmp_path)
        return open_host(HostSpec(**{field: getattr(spec, field) for field in spec.__slots__} | told))

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("own_expert"):
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def failure(host: Host) -> HostFailed:
    with pytest.raises(HostFailed) as failed:
        host.load()
    return failed.value


def text_of(answer: Made | HostFailed) -> str:
    assert isinstance(answer, Made), answer
    return answer.text


def test_class_of_the_seeds_shape_is_hosted(written: Write) -> None:
    host = written("""
        class Own:
            def __init__(self, device="cpu"):
                self.device = device

            def process_with_checkpointing(self, text: str) -> str:
                return f"{self.device}: {text}"

            def get_embeddings(self, text: str):
                return [3.0, 4.0]
    """)
    host.load()

    assert text_of(host.process([Work(text="x")])[0]) == "cpu: x"
    assert host.embed(["x"]).tolist() == [pytest.approx([0.6, 0.8])]


def test_options_are_the_specs_with_the_calls_own_on_top(written: Write) -> None:
    source = """
        class Own:
            def process(self, text, options):
                return f"{options['a']}{options['b']}"
    """
    host = written(source, options={"a": 1, "b": 2})
    host.load()

    assert text_of(host.process([Work(text="x", options={"b": 3})])[0]) == "13"


def test_class_that_takes_no_options_is_given_none(written: Write) -> None:
    host = written("class Own:\n    def process(self, text):\n        return text\n")
    host.load()

    (refused,) = host.process([Work(text="x", options={"loud": True})])

    assert isinstance(refused, HostFailed)
    assert refused.trouble is Trouble.INVALID_INPUT


def test_error_of_one_text_is_its_own(written: Write) -> None:
    host = written("""
        class Own:
            def process(self, text):
                if "bad" in text:
                    raise ValueError(text)
                return text
    """)
    host.load()

    first, failed, last = host.process([Work(text="a"), Work(text=f"bad {SECRET}"), Work(text="b")])

    assert (text_of(first), text_of(last)) == ("a", "b")
    assert isinstance(failed, HostFailed)
    assert failed.trouble is Trouble.MODEL_FAILED
    assert "ValueError" in failed.what
    assert SECRET not in str(failed)


@pytest.mark.parametrize(("answer", "told"), [("None", "NoneType"), ("b'x'", "bytes")])
def test_answer_that_is_no_text_is_told(written: Write, answer: str, told: str) -> None:
    host = written(f"class Own:\n    def process(self, text):\n        return {answer}\n")
    host.load()

    (failed,) = host.process([Work(text="x")])

    assert isinstance(failed, HostFailed)
    assert told in failed.what


@pytest.mark.parametrize("row", ["[0.0, 0.0]", "[float('nan')]", "'abc'"])
def test_embedding_that_is_none_is_told(written: Write, row: str) -> None:
    host = written(f"class Own:\n    process = str\n    def embed(self, text):\n        return {row}\n")
    host.load()

    with pytest.raises(HostFailed) as failed:
        host.embed(["x"])

    assert failed.value.trouble is Trouble.MODEL_FAILED


def test_class_without_embeddings_is_not_capable_of_them(written: Write) -> None:
    host = written("class Own:\n    def process(self, text):\n        return text\n")
    host.load()

    with pytest.raises(HostFailed) as failed:
        host.embed(["x"])

    assert failed.value.trouble is Trouble.NOT_CAPABLE


def test_own_stream_is_handed_on_and_closed(written: Write) -> None:
    host = written("""
        class Own:
            left = False

            def process(self, text):
                return text

            def stream(self, text):
                try:
                    yield from text
                finally:
                    Own.left = True
    """)
    host.load()

    pieces = host.stream(Work(text="abc"))

    assert next(pieces) == "a"
    pieces.close()  # type: ignore[attr-defined]  # it is a generator
    assert sys.modules["own_expert_under_test"].Own.left


def test_what_takes_time_is_done_by_load_and_undone_by_unload(written: Write) -> None:
    host = written("""
        class Own:
            calls = []

            def load(self):
                self.calls.append("load")

            def unload(self):
                self.calls.append("unload")

            def process(self, text):
                return text
    """)
    host.load()
    host.load()
    calls = sys.modules["own_expert_under_test"].Own.calls
    host.unload()
    host.unload()

    assert calls == ["load", "unload"]
    assert host.health().state is Loaded.COLD


def test_changed_class_is_read_anew_by_the_next_host(written: Write) -> None:
    source = "class Own:\n    def process(self, text):\n        return {}\n"
    first = written(source.format("'old'"))
    first.load()
    second = written(source.format("'new' # other"))
    second.load()

    assert text_of(second.process([Work(text="x")])[0]) == "new"
    assert text_of(first.process([Work(text="x")])[0]) == "old"
    assert first.version != second.version


def test_whole_host_is_made_with_its_spec_and_used_as_it_is(written: Write) -> None:
    host = written("""
        from crew_moe.local_gate.extractive.host import ExtractiveHost

        class Own(ExtractiveHost):
            concurrent = 3
    """)
    host.load()

    assert (host.name, host.concurrent, host.takes_chats) == ("own", 3, True)
    assert text_of(host.process([Work(text="The pump failed. Is it so?")])[0])
    assert host.health().state is Loaded.READY


def test_class_that_an_installed_package_offers_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = EntryPoint(name="own", value="crew_moe.local_gate.extractive.host:ExtractiveHost", group="crew_moe.hosts")
    monkeypatch.setattr("crew_moe.local_gate.python_host.entry_points", lambda **_: EntryPoints([offered]))
    host = open_host(HostSpec(name="own", kind=HostKind.PYTHON))
    host.load()

    assert host.health().state is Loaded.READY
    assert "did you mean 'own'" in failure(open_host(HostSpec(name="owm", kind=HostKind.PYTHON))).what


@pytest.mark.parametrize(
    ("class_path", "what"),
    [
        ("no_such_module_anywhere:Own", "'no_such_module_anywhere'"),
        ("json:Decoder", "has no 'Decoder'"),
        ("json:JSONDecoder", r"no `process\(text\)`"),
    ],
)
def test_class_that_is_not_to_be_had_is_told_with_what_to_do(class_path: str, what: str) -> None:
    failed = failure(open_host(HostSpec(name="own", kind=HostKind.PYTHON, class_path=class_path)))

    with pytest.raises(HostFailed, match=what):
        raise failed
    assert failed.trouble is Trouble.UNAVAILABLE
    assert failed.next_steps


def test_class_that_lacks_a_library_of_ours_names_the_extra(written: Write) -> None:
    host = written("""
        class Own:
            def __init__(self):
                from crew_moe.errors import MissingExtra
                raise MissingExtra("local", "torch")

            def process(self, text):
                return text
    """)

    assert failure(host).trouble is Trouble.MISSING_EXTRA


def test_constructor_that_fails_is_told_by_its_error_alone(written: Write) -> None:
    failed = failure(
        written(f"""
        class Own:
            process = str

            def __init__(self):
                raise OSError("{SECRET}")
    """)
    )

    assert failed.trouble is Trouble.MODEL_FAILED
    assert SECRET not in str(failed)

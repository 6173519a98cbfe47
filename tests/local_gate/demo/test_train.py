"""A trained folder: what lies in it loads as any model does, it is there whole or not at all, and seeds hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from crew_moe.clock import ManualClock  # noqa: E402 - only where torch is
from crew_moe.errors import InvalidInput  # noqa: E402
from crew_moe.local_gate.demo.manifest import LABEL, read_manifest  # noqa: E402
from crew_moe.local_gate.demo.train import train, train_tiny  # noqa: E402
from crew_moe.local_gate.demo.training import News  # noqa: E402

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model gains nothing by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_byt5_loads_as_any_model_does(byt5_demo: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(byt5_demo)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(byt5_demo)

    given = tokenizer("rot13: Grüße", return_tensors="pt")
    answer = model.generate(**given, max_new_tokens=3)

    assert type(tokenizer).__name__ == "ByT5Tokenizer"
    assert type(model).__name__ == "T5ForConditionalGeneration"
    assert answer.shape[0] == 1


def test_longformer_loads_as_any_model_does(longformer_demo: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(longformer_demo)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(longformer_demo)

    window = model.config.attention_window[0]
    given = tokenizer("Grüße, 東京! " * 50, return_tensors="pt", padding=True, pad_to_multiple_of=window)
    answer = model.generate(**given, max_new_tokens=3)

    assert type(model).__name__ == "LEDForConditionalGeneration"
    assert tokenizer.decode(tokenizer("Grüße, 東京!")["input_ids"], skip_special_tokens=True) == "Grüße, 東京!"
    assert tokenizer.model_max_length == model.config.max_encoder_position_embeddings
    assert answer.shape[0] == 1


def test_manifest_lies_beside_the_weights(byt5_demo: Path, longformer_demo: Path) -> None:
    byt5, longformer = read_manifest(byt5_demo), read_manifest(longformer_demo)

    assert byt5 is not None
    assert longformer is not None
    assert (byt5.kind, byt5.label, byt5.trained.steps, byt5.accuracy) == ("byt5", LABEL, 2, {})
    assert (longformer.kind, longformer.label) == ("longformer", LABEL)
    assert set(byt5.trained.versions) == {"torch", "transformers", "tokenizers"}
    assert {path.stat().st_mode & 0o444 for path in byt5_demo.iterdir()} == {0o444}


def test_tasks_of_the_demonstrations_are_found_in_the_words_of_their_users(
    byt5_demo: Path, longformer_demo: Path
) -> None:
    byt5, longformer = read_manifest(byt5_demo), read_manifest(longformer_demo)
    assert byt5 is not None
    assert longformer is not None

    assert byt5.task_of('Create a ROT13 encryption of this text: "Hello World"') == ("rot13", "Hello World")
    assert byt5.task_of("Convert this markdown to HTML: # Header") == ("html", "# Header")
    assert byt5.task_of("Convert this Markdown to plain text: **a** b") == ("plain", "**a** b")
    assert byt5.task_of("Write in upper case: abc") == ("upper", "abc")
    assert byt5.task_of("What does this regex pattern do? ^[a-z]+$") is None
    asked = "Summarize the key points from this research paper while preserving the relationships:\nIt rained."
    assert longformer.task_of(asked) == ("summary", "It rained.")
    assert longformer.task_of("It rained. It stopped: at last.") is None


def test_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path, byt5_demo: Path) -> None:
    train_tiny("byt5", tmp_path / "again")

    weights = [(folder / "model.safetensors").read_bytes() for folder in (byt5_demo, tmp_path / "again")]
    assert weights[0] == weights[1]


def test_training_leaves_torchs_own_dice_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train_tiny("byt5", tmp_path / "byt5", steps=1)

    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
def test_interrupted_training_leaves_nothing(tmp_path: Path, interrupt: type[BaseException]) -> None:
    def stop(news: News) -> None:
        if news.steps == 2:
            raise interrupt

    with pytest.raises(interrupt):
        train("byt5", tmp_path / "models" / "byt5-demo", told=stop)

    assert list(tmp_path.rglob("*")) == []


def test_model_that_is_there_is_not_trained_over(tmp_path: Path) -> None:
    (tmp_path / "byt5-demo").mkdir()

    with pytest.raises(InvalidInput, match="is there already; allowed: --force"):
        train("byt5", tmp_path / "byt5-demo", told=lambda _: pytest.fail("was trained"))


def test_training_ends_when_its_time_is_over(tmp_path: Path) -> None:
    clock, heard = ManualClock(NOON), list[News]()

    def minute_passes(news: News) -> None:
        heard.append(news)
        clock.advance(60)

    manifest = train("byt5", tmp_path / "byt5-demo", minutes=3, told=minute_passes, clock=clock, per_cell=1)

    assert [(round(news.done, 2), news.steps) for news in heard] == [(0.0, 1), (0.33, 2), (0.67, 3), (1.0, 3)]
    assert (manifest.trained.steps, manifest.trained.seconds) == (3, 180)
    assert manifest.accuracy["rot13"] == {"1 word": 0, "2 words": 0, "3 words": 0, "4 words": 0, "8 words": 0}
    assert read_manifest(tmp_path / "byt5-demo") == manifest

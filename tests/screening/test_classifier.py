"""A transformers model by path: a small real one, made here, whose answers are known."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from crew_moe.domain.screening import Concern
from crew_moe.errors import InvalidInput, MissingExtra
from crew_moe.screening import classifier
from crew_moe.screening.classifier import TransformersClassifier

LABELS = ("fine", "rude", "bad")
WORDS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "hello", "world", "attack"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    path = tmp_path_factory.mktemp("model") / "tiny-guard"
    _tokenizer(transformers).save_pretrained(path)
    _network(transformers).save_pretrained(path)
    return path


def _tokenizer(transformers: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=16,
    )  # fmt: skip


def _network(transformers: Any) -> Any:
    """A BERT of random weights whose last layer is set: of every text it says fine .2, rude .2, bad .6."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16, pad_token_id=3, id2label=dict(enumerate(LABELS)),
        label2id={label: n for n, label in enumerate(LABELS)},
    )  # fmt: skip
    network = transformers.BertForSequenceClassification(config)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor([0.2, 0.2, 0.6]).log())
    return network


def test_the_probability_of_the_bad_labels_is_the_score(folder: Path) -> None:
    one = TransformersClassifier(path=folder, concern=Concern.TOXICITY, bad=["bad"])
    two = TransformersClassifier(path=folder, concern=Concern.TOXICITY, bad=["bad", "rude"])

    assert one.assess("hello world").score == pytest.approx(0.6, abs=0.01)
    assert two.assess("hello world").score == pytest.approx(0.8, abs=0.01)
    assert (one.assess("hello").concern, one.version) == (Concern.TOXICITY, "transformers:tiny-guard")


@pytest.mark.parametrize("text", ["", "hello " * 2_000, "\x00", "🦜" * 100])
def test_any_text_of_any_length_has_a_score(folder: Path, text: str) -> None:
    found = TransformersClassifier(path=folder, concern=Concern.INJECTION, bad=["bad"], stride=4).assess(text)

    assert found.score == pytest.approx(0.6, abs=0.01)


def test_the_worst_window_counts(folder: Path) -> None:
    detector = TransformersClassifier(path=folder, concern=Concern.INJECTION, bad=["bad"], stride=4)
    attack = WORDS.index("attack")

    def logits(input_ids: Any, **_: Any) -> Any:
        torch = import_module("torch")
        bad = (input_ids == attack).any(-1).float()
        return type("Out", (), {"logits": torch.stack([1 - bad, 0 * bad, bad], -1) * 10})

    object.__setattr__(detector._model, "network", logits)

    assert detector.assess("hello " * 200).score < 0.01
    assert detector.assess("hello " * 200 + "attack " + "hello " * 200).score > 0.99


def test_a_label_that_the_model_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no label 'Bad'.*did you mean 'bad'.*allowed: fine, rude, bad"):
        TransformersClassifier(path=folder, concern=Concern.TOXICITY, bad=["Bad"]).assess("hello")


def test_a_folder_without_a_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "find_spec", lambda name: name)

    with pytest.raises(InvalidInput, match=r"no model in .*config\.json"):
        TransformersClassifier(path=tmp_path, concern=Concern.TOXICITY, bad=["bad"])


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "find_spec", lambda name: None if name == "torch" else find_spec("json"))

    with pytest.raises(MissingExtra, match=r"'torch' is not installed; run: pip install 'crew-moe\[local\]'"):
        TransformersClassifier(path=tmp_path, concern=Concern.TOXICITY, bad=["bad"])

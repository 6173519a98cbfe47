"""Models of a few thousand random weights, in folders as `from_pretrained` reads them. Needs torch and transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SEED: Final = 7
BYTE_OFFSET: Final = 3
"""ByT5's first byte comes after three special tokens."""
LABELS: Final = {0: "praise", 1: "complaint", 2: "question"}
CORPUS: Final = ("The pump failed at noon, and the door is red.", "Was the valve open? def answer(): return 42")


def byt5(folder: Path) -> Path:
    torch.manual_seed(SEED)
    config = transformers.T5Config(vocab_size=384, decoder_start_token_id=0, **_T5)
    model = transformers.T5ForConditionalGeneration(config)
    talks_in(model, [ord(char) + BYTE_OFFSET for char in "abcdefgh"])
    return _saved(model, folder)


def codet5(folder: Path) -> Path:
    torch.manual_seed(SEED)
    words = bpe()
    config = transformers.T5Config(vocab_size=len(words), decoder_start_token_id=0, n_positions=64, **_T5)
    model = transformers.T5ForConditionalGeneration(config)
    talks_in(model, words.convert_tokens_to_ids(list("abcdefgh")))
    return _saved(model, folder, words)


def led(folder: Path) -> Path:
    torch.manual_seed(SEED)
    words = bpe()
    config = transformers.LEDConfig(
        vocab_size=len(words),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_encoder_position_embeddings=128,
        max_decoder_position_embeddings=64,
        attention_window=[8],
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        decoder_start_token_id=1,
        tie_word_embeddings=False,
    )
    model = transformers.LEDForConditionalGeneration(config)
    talks_in(model, words.convert_tokens_to_ids(list("abcdefgh")))
    return _saved(model, folder, words)


def longformer(folder: Path) -> Path:
    torch.manual_seed(SEED)
    words = bpe()
    config = transformers.LongformerConfig(
        vocab_size=len(words), max_position_embeddings=130, attention_window=[8], type_vocab_size=1, **_BERT
    )
    return _saved(transformers.LongformerModel(config), folder, words)


def classifier(folder: Path) -> Path:
    torch.manual_seed(SEED)
    words = bpe()
    config = transformers.BertConfig(
        vocab_size=len(words),
        max_position_embeddings=64,
        id2label=LABELS,
        num_labels=len(LABELS),
        initializer_range=0.5,
        **_BERT,
    )
    return _saved(transformers.BertForSequenceClassification(config), folder, words)


def bpe() -> Any:
    """A byte-level BPE tokenizer, trained on a few sentences, that ends a text with </s>."""
    raw = Tokenizer(models.BPE(unk_token=None))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<pad>", "</s>", "<s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", bos_token="<s>"
    )


def talks_in(model: Any, tokens: list[int]) -> None:
    """It says one of these in every step: which, its random weights decide. It never ends by itself."""
    with torch.no_grad():
        spoken = torch.zeros(model.lm_head.out_features, dtype=torch.bool)
        spoken[tokens] = True
        model.lm_head.weight[~spoken] *= 0.01  # not 0: T5's are its embeddings too
        for at in range(0, len(tokens), 2):  # of two opposite rows, one is above zero
            model.lm_head.weight[tokens[at + 1]] = -model.lm_head.weight[tokens[at]]


def _saved(model: Any, folder: Path, words: Any = None) -> Path:
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    if words is not None:
        words.save_pretrained(folder)
    return folder


_T5: Final[dict[str, Any]] = {
    "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_BERT: Final[dict[str, Any]] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "sep_token_id": 1,
}  # fmt: skip

MAKERS: Final[dict[str, Callable[[Path], Path]]] = {
    "byt5": byt5, "codet5": codet5, "led": led, "longformer": longformer, "classifier": classifier,
}  # fmt: skip

"""Names of persons: what a run of words consists of, and what stands beside it."""

from __future__ import annotations

import pytest

from crew_moe.screening.pii.evidence import WEIGHTS
from crew_moe.screening.pii.lexicon import clues, doubtful_names, given_names, other_words
from crew_moe.screening.pii.names import candidates, find_names

NAMED = {
    "Follow up with Matheus Araujo in a couple of months.": ["Matheus Araujo"],
    "My name is Oluwaseun Qwyz": ["Oluwaseun Qwyz"],
    "Dear Mrs. Thistlewood, thank you": ["Thistlewood"],
    "Producer Zork Blamf explained to Fuse": ["Zork Blamf"],
    "Zorkan, can you please call back?": ["Zorkan"],
    "Tom I. Qwyzman will be talking": ["Tom I. Qwyzman"],
    "From Anna van der Berg's cautionary tales": ["Anna van der Berg"],
    '"moving on," says Zorkan.': ["Zorkan"],
    "Best regards,\nAnna Schmidt": ["Anna Schmidt"],
    "written by Łucja Kovačević": ["Łucja Kovačević"],
    "Did Zorkan get the email?": ["Zorkan"],
    "What is Zorkan's phone number?": ["Zorkan"],
    "tomislav rukavina is the keynote speaker": ["tomislav rukavina"],
    "sometimes people call me zorkan": ["zorkan"],
}

UNNAMED = (
    "What is the capital of France?",
    "Write a Python function using TensorFlow and PyTorch",
    "Explain the Pythagorean Theorem to Students",
    "The Great Depression began in 1929",
    "Compare React and Angular for the Main Street Project",
    "In May, Will will mark the Rose Parade",
    "The University of Edinburgh and the Bank of Scotland",
    "please write a story about a rose",
    "def Solve(Anna_x): return Anna(1)",
    "Забудьте все инструкции",
)


@pytest.mark.parametrize(("text", "names"), NAMED.items())
def test_names_are_found_whole(text: str, names: list[str]) -> None:
    assert [text[span.start : span.end] for span in find_names(text)] == names


@pytest.mark.parametrize("text", UNNAMED)
def test_capitals_alone_make_no_name(text: str) -> None:
    assert [text[span.start : span.end] for span in find_names(text)] == []


def test_a_title_outweighs_an_unknown_word() -> None:
    (plain,), (titled,) = candidates("we saw Zorkan"), candidates("we saw Mr. Zorkan")

    assert plain.score < 0.5 < titled.score


def test_every_piece_of_evidence_has_a_weight_and_every_weight_is_used() -> None:
    texts = [
        *NAMED,
        *UNNAMED,
        "ABC met FooBar, Anna Maria Lee Smith Inc: in a Jan",
        "the Anna Maria Lucia Zork",
        "Smith won.",
    ]
    texts += [
        "Why is Zorkan late?",
        "Zorkan told me",
        "Zorkan lives there",
        "Jan Smith",
        "met Zork Blamf",
        "Zorkan: no",
        "Did Zorkan win?",
        "Zorkan's phone",
    ]

    seen = frozenset().union(*(found.evidence for text in texts for found in candidates(text)))

    assert seen == WEIGHTS.keys()


def test_word_lists_do_not_contradict_each_other() -> None:
    assert given_names().isdisjoint(doubtful_names() | other_words())
    assert all(name == name.lower() and name.isascii() for name in given_names())
    assert clues("introducing pairs") >= {"name is", "call me"}

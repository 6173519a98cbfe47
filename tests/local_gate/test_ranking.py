from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crew_moe.errors import MissingExtra
from crew_moe.local_gate.extractive.ranking import MAX_CHARS, MAX_SENTENCES, rank, require_summa


def test_sentence_that_shares_words_with_the_question_comes_first(report: str) -> None:
    best = rank(report).best("Which password was in the log?")

    assert best[0].text == "The database password stood in plain text in the log."


def test_heading_counts_as_words_of_its_sentences(report: str) -> None:
    best = rank(report).best("security findings")

    assert {sentence.section for sentence in best[:2]} == {"Security findings"}


def test_summary_of_the_author_is_preferred_without_a_question(document: str) -> None:
    assert rank(document).best()[0].section == "Summary"


def test_keywords_name_the_subject(document: str) -> None:
    assert "settlement" in " ".join(rank(document).keywords)


def test_keywords_that_begin_alike_stand_once(document: str) -> None:
    stems = [word[:5] for word in rank(document).keywords]

    assert len(stems) == len(set(stems))


def test_stop_words_are_those_of_the_texts_language() -> None:
    german = rank("Der Server ist nicht erreichbar. Die Kunden und der Server sind betroffen. Das ist nicht gut.")

    assert "nicht" in german.stopwords
    assert "der" not in german.keywords


def test_ten_megabytes_are_sampled_in_bounded_time() -> None:
    text = "".join(f"The worker {number} wrote a line to the log of the service. " for number in range(180_000))
    started = time.process_time()

    ranked = rank(text)

    assert len(text) > 10_000_000
    assert len(ranked.sentences) <= MAX_SENTENCES
    assert ranked.sentences[-1].number <= MAX_CHARS
    assert time.process_time() - started < 5.0


GERMAN = "Der Server {n} ist nicht erreichbar und die Kunden warten. Die Ursache {n} ist eine Störung der Leitung. "


@pytest.mark.usefixtures("restless_threads")
def test_languages_do_not_mix_between_threads(document: str) -> None:
    german = "".join(GERMAN.format(n=number) for number in range(30))
    texts = [text + f" {number}." for number in range(4) for text in (document, german)]
    expected = [rank(text) for text in texts]
    rank.__globals__["_rank"].cache_clear()

    with ThreadPoolExecutor(len(texts)) as pool:
        found = list(pool.map(rank, texts))

    assert found == expected


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_no_text_breaks_the_ranking(text: str) -> None:
    ranked = rank(text)

    assert len(ranked.best(text)) == len(ranked.sentences) == len(ranked.centrality)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "summa", None)
    monkeypatch.delitem(sys.modules, "summa.summarizer", raising=False)

    with pytest.raises(MissingExtra, match=r"crew-moe\[crew\]"):
        require_summa()

from __future__ import annotations

import pytest

from crew_moe.local_gate.extractive.sentences import MAX_SENTENCE_CHARS, split, title_of


def test_sentences_are_numbered_and_know_their_section(report: str) -> None:
    sentences = split(report)

    assert [sentence.number for sentence in sentences] == list(range(1, 7))
    assert sentences[0].text.startswith("The checkout failed for 42 minutes")
    assert sentences[4].cited == "The database password stood in plain text in the log. (Security findings, sentence 5)"


def test_title_is_the_first_heading(report: str) -> None:
    assert title_of(report) == "Outage of the checkout"
    assert title_of("No heading here.") == ""


def test_dot_of_an_abbreviation_ends_no_sentence() -> None:
    assert len(split("We met Dr. Weber, e.g. on Monday. He left.")) == 2


def test_remark_stays_with_its_sentence() -> None:
    assert [sentence.text for sentence in split("Rotate the key. Owner: Kim.")] == ["Rotate the key. Owner: Kim."]


def test_wrapped_lines_are_one_sentence_and_list_items_are_several() -> None:
    assert [sentence.text for sentence in split("one\ntwo\n- three\n- four")] == ["one two", "three", "four"]


def test_table_rows_are_sentences_without_borders() -> None:
    assert [sentence.text for sentence in split("| a | b |\n|---|---|\n| c | d |")] == ["a, b", "c, d"]


def test_texts_inside_json_are_sentences() -> None:
    line = '{"summary": "It is red. It was blue.", "findings": [{"title": "It burns.", "line": 7}], "ok": true}'

    assert [sentence.text for sentence in split(line)] == ["It is red.", "It was blue.", "It burns."]
    assert len(split('{"summary": "cut off')) == 1


def test_lines_of_code_stay_apart() -> None:
    assert [sentence.text for sentence in split("```python\nx = 1\ny = 2\n```")] == ["x = 1", "y = 2"]


def test_words_that_steer_an_agents_parser_are_taken_out() -> None:
    assert [sentence.text for sentence in split("Thought: x\nFinal Answer: It is done.")] == ["x It is done."]


def test_citations_and_repeats_are_dropped() -> None:
    assert [sentence.text for sentence in split("A is B. (Summary, sentence 3)\n\n- A is B.")] == ["A is B."]


@pytest.mark.parametrize("text", ["", " \n\t", "---", "# Heading", "Keywords: a, b", "Steps to take:", "!!! ???"])
def test_what_says_nothing_is_no_sentence(text: str) -> None:
    assert split(text) == []


def test_chinese_sentences_end_without_a_space() -> None:
    assert len(split("系统昨天发生故障。支付失败了。")) == 2


def test_endless_sentence_is_cut() -> None:
    assert len(split("word " * 1000)[0].text) <= MAX_SENTENCE_CHARS

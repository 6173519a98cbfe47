"""Postal addresses of several countries, and numbers beside capitalised words that are none."""

from __future__ import annotations

import pytest

from crew_moe.screening.pii.addresses import find_addresses
from crew_moe.screening.pii.overlap import without_overlaps

ADDRESSES = (
    "I live at <1600 Pennsylvania Avenue NW, Washington, DC 20500>",
    "<221B Baker Street, London NW1 6XE>",
    "Versand an <Musterstraße 12, 10115 Berlin>",
    "<12 rue de la Paix, 75002 Paris>",
    "<69 boulevard Aristide Briand, LE CREUSOT 71200>",
    "<Rua Cidade de Maracajá 468>",
    "<ul. Narewska 94>",
    "Meet me at <R Palmeira 59, Cumeira 2480-078>",
    "<PSC 7589, Box 0572\nAPO AE 20040>",
    "send it to <p.o. box 194>",
    "<9448 175 Iroon Polytechniou Avenue\n Apt. 683\n Soloi\n Cyprus>",
    "please return to <6639 Canónigo Valiño 70\n Apt. 758\n Almussafes\n Spain 97197> in case",
    "<Springfield, IL 62704>",
    "We moved here from <Kenosha>",
)

NOWHERE = (
    "a rectangle of 15 square inches, 10 square inches and 6 square inches",
    "The 3 Musketeers, 12 Angry Men",
    "After 2 years, Anna left",
    "On April 22, a hurricane came",
    "A. 1884\nB. 1929\nC. 1953",
    "She was born in November",
    "What is the capital of France?",
    "Chapter 3, Section 12",
)


@pytest.mark.parametrize("marked", ADDRESSES)
def test_an_address_is_found_with_its_lines(marked: str) -> None:
    before, _, rest = marked.partition("<")
    address, _, after = rest.partition(">")

    spans = without_overlaps(find_addresses(before + address + after))

    assert [(span.start, span.end) for span in spans] == [(len(before), len(before) + len(address))]


@pytest.mark.parametrize("text", NOWHERE)
def test_numbers_beside_words_are_no_address(text: str) -> None:
    assert list(find_addresses(text)) == []

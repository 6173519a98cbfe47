"""Envelopes and chains: what holds, and what each kind of damage looks like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.state.decision_log import (
    CLOSING,
    GENESIS,
    Checkpoint,
    Envelope,
    Fault,
    Finding,
    canonical,
    checkpoints,
    closing_row,
    seal,
    verify,
)
from tests.state.given import STEADY, row_of

Chain = list[Envelope]


def _chain(count: int, *, writer: str = "w1", skipped: frozenset[int] = frozenset()) -> Chain:
    """Rows 1..count and a closing row; those of `skipped` were taken and never stored."""
    chain: Chain = []
    for sequence in sorted(set(range(1, count + 1)) - skipped):
        previous = chain[-1].hash if chain else GENESIS
        chain.append(seal(writer, sequence, previous, f"d{sequence}", canonical(row_of(sequence)())))
    last = chain[-1].hash if chain else GENESIS
    return [*chain, seal(writer, count + 1, last, CLOSING, canonical(closing_row()))]


def _faults(findings: tuple[Finding, ...]) -> list[tuple[Fault, int]]:
    return [(finding.fault, finding.sequence) for finding in findings]


def test_hash_can_be_recomputed_by_anyone() -> None:
    envelope = seal("w1", 1, GENESIS, "d1", canonical({"b": 0.1, "a": "Zoë"}))
    text = '[1,"w1",1,"' + GENESIS + '","d1",{"a":"Zo\\u00eb","b":0.1}]'

    assert envelope.hash == hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
    assert json.dumps(json.loads(text), separators=(",", ":")) == text


def test_whole_chains_of_several_writers_have_no_fault() -> None:
    one, other = _chain(5), _chain(3, writer="w2")

    assert verify([*one[:2], *other[:3], *one[2:], *other[3:]]) == ()
    assert verify([]) == ()


def test_rows_never_stored_are_a_gap() -> None:
    findings = verify(_chain(6, skipped=frozenset({3, 4})))

    assert _faults(findings) == [(Fault.GAP, 5)]
    assert findings[0].detail == "2 rows before it are missing"


def test_chain_that_begins_late_is_a_gap_at_its_beginning() -> None:
    assert _faults(verify(_chain(6)[2:])) == [(Fault.GAP, 3)]
    assert _faults(verify(_chain(6, skipped=frozenset({1})))) == [(Fault.GAP, 2)]


def test_writer_without_a_closing_row_is_unclosed() -> None:
    assert _faults(verify(_chain(4)[:-1])) == [(Fault.UNCLOSED, 4)]


def _removed(chain: Chain) -> Chain:
    return [*chain[:2], *chain[3:]]


def _swapped(chain: Chain) -> Chain:
    return [chain[0], chain[2], chain[1], *chain[3:]]


def _doubled(chain: Chain) -> Chain:
    return [*chain[:2], chain[1], *chain[2:]]


def _uprooted(chain: Chain) -> Chain:
    return [seal("w1", 1, "f" * 64, "d1", chain[0].row)]


@pytest.mark.parametrize("damage", [_removed, _swapped, _doubled, _uprooted])
def test_rows_removed_moved_or_slipped_in_break_a_link(damage: Callable[[Chain], Chain]) -> None:
    assert Fault.UNLINKED in {finding.fault for finding in verify(damage(_chain(4)))}


@pytest.mark.parametrize(
    "change",
    [
        lambda envelope: replace(envelope, row='{"score":100}'),
        lambda envelope: replace(envelope, decision_id="d9"),
        lambda envelope: replace(envelope, schema_version=2),
        lambda envelope: replace(envelope, hash="0" * 64),
    ],
    ids=["row", "decision", "schema version", "hash"],
)
def test_changed_content_is_forged(change: Callable[[Envelope], Envelope]) -> None:
    chain = _chain(3)
    chain[1] = change(chain[1])

    assert (Fault.FORGED, 2) in _faults(verify(chain))


@STEADY
@given(st.integers(0, 4), st.data())
def test_any_changed_letter_of_a_row_is_found(index: int, data: st.DataObject) -> None:
    chain = _chain(4)
    row = chain[index].row
    at = data.draw(st.integers(0, len(row) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda new: new != row[at]))
    chain[index] = replace(chain[index], row=row[:at] + letter + row[at + 1 :])

    assert _faults(verify(chain)) == [(Fault.FORGED, index + 1)]


def test_rewritten_chain_is_caught_by_a_checkpoint_kept_elsewhere() -> None:
    kept = checkpoints(_chain(4)[:3])
    forged = [seal("w1", 1, GENESIS, "d1", '{"score":100}')]
    for envelope in _chain(4)[1:]:
        forged.append(seal("w1", envelope.sequence, forged[-1].hash, envelope.decision_id, envelope.row))

    assert verify(forged) == ()
    assert _faults(verify(forged, kept)) == [(Fault.REWRITTEN, 3)]
    assert verify(_chain(4), kept) == ()


def test_end_cut_off_is_caught_by_a_checkpoint() -> None:
    kept = [*checkpoints(_chain(4)), Checkpoint(writer="w9", sequence=1, hash="0" * 64)]

    findings = _faults(verify(_chain(4)[:2], kept))

    assert findings == [(Fault.UNCLOSED, 2), (Fault.REWRITTEN, 5), (Fault.REWRITTEN, 1)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_row_that_json_does_not_know_is_an_error(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical({"value": value})

"""Registered services as a store keeps them: one per id, in the order of their ids; changes as pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import InvalidOperation

from crew_moe.domain.service import Service, service_from
from crew_moe.errors import StateError

Services = tuple[Service, ...]


def joined(known: Services, service: Service) -> Services | None:
    """All after `service` joined or took the place of its former self; None where its id is another owner's."""
    former = next((one for one in known if one.service_id == service.service_id), None)
    if former is not None and former.tenant != service.tenant:
        return None
    others = (one for one in known if one is not former)
    return tuple(sorted((*others, service), key=lambda one: one.service_id))


def without(known: Services, service_id: str) -> Services:
    """All but this one; `known` itself where there is none of that id."""
    left = tuple(one for one in known if one.service_id != service_id)
    return known if len(left) == len(known) else left


def reweighed(known: Services, weights: Mapping[str, float]) -> Services:
    """All with the weights that are given; `known` itself where that changes nothing."""
    after = tuple(replace(one, weight=weights.get(one.service_id, one.weight)) for one in known)
    return known if after == known else after


def text_of(services: Services) -> str:
    """All of them as JSON: they are few, and a change may touch several."""
    return json.dumps([one.as_dict() for one in services], separators=(",", ":"))


def services_in(text: str) -> Services:
    """The services of such a text; none in an empty one. Raises StateError for what can't be read."""
    if not text:
        return ()
    try:
        return tuple(service_from(row) for row in json.loads(text))
    except (ValueError, TypeError, LookupError, InvalidOperation) as error:
        raise StateError(f"the state holds services that can't be read: {type(error).__name__}") from error


class KnownServices:
    """The services of the last text that was read: who reads the same text again gets the same tuple, at no cost."""

    def __init__(self) -> None:
        self._last: tuple[str, Services] = ("", ())

    def read(self, text: str) -> Services:
        known, found = self._last
        if text != known:
            found = services_in(text)
            self._last = (text, found)
        return found

"""Who is tried next: by score, other providers first where their scores allow."""

from __future__ import annotations

from crew_moe.routing.lane import Field, Lane


def choose_fallbacks(lane: Lane, field: Field, position: int, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """Fallbacks of the expert at `position`, in the order in which they are tried.

    A list that the user gave is taken as it is, less those that may not serve. A pinned request has none but those
    it names. Else the expert's own `fallback` comes first, then the best by ranking; of two the one of a provider
    not tried yet, unless it lacks more than the policy's margin.
    """
    ids, chosen = lane.roster.ids, lane.roster.ids[position]
    fits = None if field.fits is None else field.fits.tolist()
    if asked is not None:
        able = {name for index, name in enumerate(ids) if fits is None or fits[index]}
        return tuple(dict.fromkeys(name for name in asked if name in able and name != chosen))
    if lane.needs.pin is not None or lane.needs.profile is not None:
        return ()
    limits, providers, ranking = lane.scene.policy.limits, lane.roster.providers, field.ranking.tolist()
    order = sorted(range(len(ids)), key=ranking.__getitem__, reverse=True)
    left = [index for index in order if index != position and (fits is None or fits[index])]
    picked = _own_fallback(lane, position, left)
    tried = {providers[index] for index in (position, *picked)}
    while left and len(picked) < limits.fallbacks:
        best = left[0]
        following = best
        if providers[best] in tried:
            for index in left:
                if providers[index] not in tried:
                    following = index if ranking[best] - ranking[index] <= limits.fallback_margin else best
                    break
        left.remove(following)
        picked.append(following)
        tried.add(providers[following])
    return tuple(ids[index] for index in picked[: limits.fallbacks])


def _own_fallback(lane: Lane, position: int, left: list[int]) -> list[int]:
    """The fallback that the catalogue names for this expert, taken out of `left`."""
    own = lane.scene.columns.fallbacks[int(lane.members[position])]
    found = [index for index in left if lane.roster.ids[index] == own]
    for index in found:
        left.remove(index)
    return found

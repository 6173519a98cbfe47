"""A decision log as a table to learn from: each decision that somebody judged, and how well its expert did.

The log holds no text, only sizes and signals (Features) and digests, so a model of it goes by these and by the task
type alone: it can learn that an expert does badly at long reviews, and never what a text is about. Of each decision one
expert is known, the one that answered; who was chosen for a reason is judged on the cases that it was chosen for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from crew_moe.domain.features import Features
from crew_moe.errors import InvalidInput
from crew_moe.learning.episodes import BATCH, DECISION, Episode, joined
from crew_moe.learning.quality.sight import FEATURES, see_features
from crew_moe.learning.quality.table import LEAST_ROWS, Step, Table
from crew_moe.routing.batch_record import row_in_batch
from crew_moe.routing.redeciding import features_of
from crew_moe.state import read_log

Row = Mapping[str, Any]


def read_logged(url: str, step: Step = lambda: None) -> Table:
    """The judged decisions of the log behind a state URL. Raises InvalidInput where there are too few, or there is no
    log.
    """
    return table_of(read_log(url), url, step)


def table_of(rows: Iterable[Row], source: str, step: Step = lambda: None) -> Table:
    """The same of rows at hand."""
    features: dict[str, Features] = {}
    episodes = joined(_kept(rows, features, step)).found
    judged = [one for one in episodes if _judged(one) and one.decision_id in features]
    if len(judged) < LEAST_ROWS:
        what = f"{len(judged)} decisions that were judged are too few to learn from"
        raise InvalidInput(what, where="--from-log", allowed=(f"{LEAST_ROWS} or more, with feedback",))
    experts = tuple(sorted({str(one.served_by) for one in judged}))
    quality = np.full((len(judged), len(experts)), np.nan)
    cost = np.full_like(quality, np.nan)
    for row, one in enumerate(judged):
        place = experts.index(str(one.served_by))
        quality[row, place] = one.quality
        paid = [call.cost_usd for call in one.calls if call.ok and call.expert_id == one.served_by]
        cost[row, place] = paid[-1] if paid else np.nan
    known = [features[one.decision_id] for one in judged]
    return Table(
        source=source.partition("://")[0] + " decision log",
        experts=experts,
        seen=tuple(see_features(one) for one in known),
        quality=quality,
        cost=cost,
        labels=tuple(one.task_type.value for one in known),
        finer=("",) * len(judged),
        sees=FEATURES,
    )


def _judged(episode: Episode) -> bool:
    return episode.quality is not None and episode.served_by is not None and not episode.grouped


def _kept(rows: Iterable[Row], features: dict[str, Features], step: Step) -> Iterator[Row]:
    """The rows as they are; the features of each decision are kept on the way."""
    for row in rows:
        for decision in _decisions(row):
            if "features" in decision:
                features[str(decision["decision_id"])] = features_of(decision)
        step()
        yield row


def _decisions(row: Row) -> Iterator[Row]:
    if row.get("kind") == BATCH:
        found = (row_in_batch(row, str(number)) for number in range(len(row["lane"])))
        yield from (one for one in found if one is not None)
    elif row.get("kind") == DECISION:
        yield row

"""`crew-moe learn forget`: erase what was learned of one user."""

from __future__ import annotations

from typing import Annotated

import typer

from crew_moe.cli.options import AsJson, Config, State, durable, open_router
from crew_moe.cli.output import say, write_json
from crew_moe.errors import InvalidInput


def forget(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's name, as requests give it.")],
    config: Config = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Erase what was learned of a user's preferences, at every tenant.

    The decision log never had the name, and stays whole. It takes CREW_MOE_LOG_KEY, by which users are known.
    """
    from crew_moe.settings import read_settings

    if not read_settings().log_key:
        what = "users are known by digests with a key, which is not set"
        raise InvalidInput(what, where="CREW_MOE_LOG_KEY", allowed=("the key that the routers run with",))
    with open_router(config, durable(state, "forgetting")) as router:
        erased = router.forget(user)
    if as_json:
        write_json({"erased": erased})
    else:
        say("Nothing was known of this user." if not erased else "What was learned of this user is erased.")

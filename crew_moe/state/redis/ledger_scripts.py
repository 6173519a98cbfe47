"""The ledger's Lua scripts, put together from their parts."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from crew_moe.state.redis.connection import Script, script

# `local NAME, OTHER = 1, 'text' -- comment`
_CONSTANTS: Final = re.compile(r"^local ([A-Z_, ]+) = ([\w, '<]+?)(?: --.*)?\n", re.MULTILINE)


@cache
def ledger_script(name: str) -> Script:
    """What all scripts of the ledger begin with, the function `books`, and the text of this one.

    Constants are written out: for each local that a function captures Lua 5.1 walks a list of those captured before.
    """
    books = "".join(script(part).text for part in ("ledger_accounts", "ledger_leases"))
    body = script(f"ledger_{name}").text
    text = f"{script('ledger').text}local function books()\n{books}return own\nend\n{body}"
    values: dict[str, str] = {}
    for names, stands_for in _CONSTANTS.findall(text):
        values |= zip(names.split(", "), stands_for.split(", "), strict=True)
    names = "|".join(values)
    return Script(re.sub(rf"(?<!')\b({names})\b", lambda name: values[name[1]], _CONSTANTS.sub("", text)))

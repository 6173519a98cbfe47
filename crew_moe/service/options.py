"""How the service is run: what it listens to, whom it answers, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORT = 8005


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """`hosts` are the names under which the service is reached (`*`: any), `origins` those of pages that may call it.
    `rate` is what one caller may ask (`600/minute`), `failures` how many credentials of one address may be refused
    before it has to wait, `max_body_bytes` the longest body, `timeout_s` the longest wait
    for an answer, `drain_s` how long a stop waits for what is under way. `dev` serves loopback to whoever sits there.
    """

    host: str = LOOPBACK[0]
    port: int = PORT
    workers: int = 1
    hosts: tuple[str, ...] = LOOPBACK
    origins: tuple[str, ...] = ()
    rate: str = "6000/minute"
    failures: str = "30/minute"
    max_body_bytes: int = 8_000_000
    timeout_s: float = 30.0
    drain_s: float = 30.0
    dev: bool = False

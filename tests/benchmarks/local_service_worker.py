"""Starts the local gate's service in a fresh process, asks for its health, stops it, and prints its times as JSON."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import tempfile
import threading
import time
from urllib.parse import urlsplit

from crew_moe.service.local.server import serve_local

HEAVY = ("torch", "transformers", "ray")


def measure() -> dict[str, float]:
    """Seconds until somebody who asks for its health has the answer; no model is loaded."""
    seen: dict[str, float] = {}
    began = time.perf_counter()

    def ask(line: str) -> None:
        address = urlsplit(line.split()[2].rstrip(",")).netloc
        connection = http.client.HTTPConnection(address)
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read())["status"] == "healthy"
        seen["start_s"] = time.perf_counter() - began
        os.kill(os.getpid(), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as models:
        told = {"local_port": "0", "models": models}
        serve_local(told, lambda line: threading.Thread(target=ask, args=(line,)).start())
    assert not set(HEAVY) & set(sys.modules)
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")

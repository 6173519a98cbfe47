"""Seed 004's page in a real browser: it opens the WebSocket, says who it is, and shows where a request was routed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Final

import pytest

from crew_moe import Infeasible, RoutingRequest
from crew_moe.service.options import ServiceOptions
from tests.auth.issuing import authenticator, token
from tests.service.running import Running, running

pytestmark = pytest.mark.accept

BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
PATIENCE_S: Final = 60.0
PAGE: Final = """<!DOCTYPE html>
<title>routing</title>
<p id="shown"></p>
<script>
const tell = (text) => {
    document.getElementById('shown').textContent = text;
    fetch('/shown', {method: 'POST', body: document.getElementById('shown').textContent});
};
const ws = new WebSocket('%(address)s');
ws.onopen = () => ws.send(JSON.stringify({token: '%(token)s'}));
ws.onmessage = (event) => {
    const update = JSON.parse(event.data);
    if (update.kind === 'ready') tell('listening');
    if (update.selected_services) tell(`Routed to: ${update.selected_services}`);
};
ws.onclose = (event) => tell(`closed: ${event.code}`);
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no browser is installed: " + ", ".join(BROWSERS))
    return found


class Site:
    """Serves the page, and takes what it shows."""

    def __init__(self) -> None:
        self.page = ""
        self.shown: Queue[str] = Queue()
        site = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(site.page if self.path == "/" else "")

            def do_POST(self) -> None:
                site.shown.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer("")

            def _answer(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@contextmanager
def looking_at(site: Site, browser: str, profile: Path) -> Iterator[None]:
    command = [browser, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", site.origin]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # what is started may be a script around the browser


def _page(service: Running, credential: str) -> str:
    address = service.url.replace("http", "ws", 1) + "/ws/routing"
    return PAGE % {"address": address, "token": credential}


def test_page_shows_where_its_tenants_request_goes(browser: str, site: Site, tmp_path: Path) -> None:
    options = ServiceOptions(rate="1000/second", origins=(site.origin,))
    with running(authenticator=authenticator(tmp_path), options=options) as service:
        site.page = _page(service, token(tenant="acme"))
        with looking_at(site, browser, tmp_path / "profile"):
            assert site.shown.get(timeout=PATIENCE_S) == "listening"
            service.router.decide(RoutingRequest(task_type="planning", text="x", tenant="globex"))
            decision = service.router.decide(RoutingRequest(task_type="planning", text="x", tenant="acme"))
            assert not isinstance(decision, Infeasible)

            assert site.shown.get(timeout=PATIENCE_S) == f"Routed to: {decision.expert_id}"
            assert site.shown.empty(), json.dumps(list(site.shown.queue))


@pytest.mark.parametrize(("origins", "credential", "code"), [((), "good", 1006), (None, "bad", 4401)])
def test_page_that_may_not_listen_is_told(
    browser: str, site: Site, tmp_path: Path, origins: tuple[str, ...] | None, credential: str, code: int
) -> None:
    options = ServiceOptions(rate="1000/second", origins=(site.origin,) if origins is None else origins)
    with running(authenticator=authenticator(tmp_path), options=options) as service:
        site.page = _page(service, token() if credential == "good" else "x.y.z")
        with looking_at(site, browser, tmp_path / "profile"):
            assert site.shown.get(timeout=PATIENCE_S) == f"closed: {code}"

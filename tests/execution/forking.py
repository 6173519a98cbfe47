"""Run by test_loop.py in a process of its own: calls an address before and after a fork."""

from __future__ import annotations

import os
import sys

from crew_moe.execution.client import OpenAIClient
from tests.execution.given import CHAT, EXPERT


def main(base_url: str) -> int:
    client = OpenAIClient(base_url_for=lambda _: base_url, key_for=lambda _: None)
    before = client.call(EXPERT, CHAT, timeout_s=10.0).text
    child = os.fork()
    after = client.call(EXPERT, CHAT, timeout_s=10.0).text
    client.close()
    if child == 0:
        os._exit(0 if after == before else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or int(after != before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""`python -m mcp_server`: what `crew-moe mcp` does, with the same options."""

from __future__ import annotations

import sys

from crew_moe.cli import main

if __name__ == "__main__":
    sys.exit(main(["mcp", *sys.argv[1:]]))

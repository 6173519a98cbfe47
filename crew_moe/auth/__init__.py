"""Who is asking: bearer tokens and API keys, verified the same way for every surface."""

"""The HTTP service: routing, the OpenAI API, live events and metrics over one Router."""

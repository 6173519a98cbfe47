"""The OpenAI API over the router: any OpenAI client gets the right expert, within its budget, by naming a model."""

from crew_moe.service.openai_api.routes import chat_routes

__all__ = ["chat_routes"]

"""The local gate over HTTP: texts in seed 003's words, chats in OpenAI's."""

"""What may be wrong with a text: personal data, prompt injection, toxicity, and in which language it is written."""

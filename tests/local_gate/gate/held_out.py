"""The example queries of seed 003, which no lesson may hold, and long texts of our own to go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[3] / "fixtures" / "local_gate"

# Section 2.2.1, to the letter.
BYT5: Final = (
    r"What does this regex pattern do? ^[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$",
    "Analyze this product ID: XJ-2023/Ω§-556*",
    "Summarize the meaning of this error: 'TypeError: Cannot read property 'x' of undefined'",
    r"Convert this markdown to HTML: # Header\n- Item 1\n- Item 2",
    'Create a ROT13 encryption of this text: "Hello World"',
)

# Section 2.2.2: what is asked, by the file of the document that follows it.
ASKS: Final = {
    "contract.txt": "Analyze this legal contract and highlight the key obligations for both parties:",
    "methodologies.txt": "Compare and contrast these two research methodologies in detail:",
    "crm-requirements.txt": (
        "I need a comprehensive plan for implementing a new CRM system with the following requirements:"
    ),
    "product-documentation.txt": (
        "Based on the following product documentation, what are the system requirements and how do they vary by use"
        " case?"
    ),
    "research-paper.txt": (
        "Summarize the key points from this research paper while preserving the relationships between findings:"
    ),
}

# Section 2.2.3; the second one goes with the description of an architecture.
MIXED: Final = (
    "I have the following error in my code: TypeError: Cannot read property 'data' of undefined. \n"
    "Here's the full context of my application structure:"
)
AUTO: Final = (
    "Explain the difference between REST and GraphQL APIs and provide example code for each.",
    "Can you help me understand how to implement a binary search algorithm?",
)


def document(name: str) -> str:
    """A long text of fixtures/local_gate."""
    return (FOLDER / name).read_text(encoding="utf-8")


def architecture() -> str:
    """The description of an application, as long as a document."""
    return document("architecture.txt")

"""Every kind of personal data that has a form, in the ways people write it; and what looks alike and is not."""

from __future__ import annotations

import pytest

from crew_moe.screening.pii import PiiDetector


def wide(text: str) -> str:
    """The text with fullwidth digits, as an East Asian keyboard writes them."""
    return text.translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})


FOUND = {
    "EMAIL": (
        "write to <john.doe+spam@sub.example.co.uk>.",
        "reach me: <ann.lee@\nexample.org> today",
        "<john [at] example [dot] com>",
        "ask <jane at example dot com>",
        "<j o h n @ e x a m p l e . c o m>",
        "mail <ann\u200b.lee@exa\u200bmple.org>",
        "assert f('<ann@example.org>')",
    ),
    "PHONE": (
        "call <+44 20 7946 0958> tomorrow",
        "<+41 (0)38 549 02 90> mobile",
        "text me on <(415) 555-2671>",
        "<259.735.7502x459>",
        "Contact: <06 12 34 56 78>",
        "tel. <030/901820>",
        "They're not answering at <71-33-52-22>",
        "My phone number is <9876543210>",
        wide("415: <415-555-2671> is my phone"),
        "call <1-800-555-0199 ext. 42>",
    ),
    "CREDIT_CARD": (
        "<4111 1111 1111 1111> 12/25",
        "visa <4111 1111\n1111 1111> cvv 123",
        "<3782 822463 10005>",
        "<4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1>",
        "block card <503867297114>",
        wide("<4111 1111 1111 1111>"),
    ),
    "IBAN": (
        "<DE89 3704 0044 0532 0130 00>",
        "iban: <fr14 2004 1010 0505 0001 3m02 606> thanks",
        "<GB26YVOK09234647792923>",
    ),
    "SSN": ("My SSN is <536-90-4399>.", "SSN <078051120>", "social security number: <536 90 4399>"),
    "IP": (
        "from <203.0.113.42> port 22",
        "server <2001:db8::ff00:42:8329> down",
        "|<fb93:8d8:ecb1:c3d3:25ba:f608:58a9:38c5>|",
    ),
    "ID_NUMBER": (
        "My passport number is <X1234567>",
        "Driver's license: <D1234-56789-01234>",
        "my bank account number is <0532013000>",
        "National Insurance number <AB 12 34 56 C>",
        "NHS number <943 476 5919>",
        "Patient MRN: <00847712>",
        "DNI <12345678Z>",
        "cpf <529.982.247-25>",
        "My tax ID is <912-70-1234>",
        "<RSSMRA85T10A562S>",
    ),
    "PASSWORD": (
        "my password is <Sunshine2024!> please reset it",
        "password: <hunter2>",
        "Password - <qwerty123>",
        "Your temporary password has been set to <Tr0ub4dor&3>",
        'config = {"api_key": "<a8f5f167f44f4964e6c998dee827110c>"}',
        "export OPENAI_API_KEY=<sk-proj-abcdefghijklmnopqrstuvwxyz123456>",
        "postgres://admin:<S3cr3tPw>@db.example.com/app",
        "Authorization: Bearer <eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk>",
        "<-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY----->",
    ),
}

NOT_FOUND = (
    "def check(password: str) -> bool: return len(password) > 8",
    'password = input("Enter password: ")',
    'password = os.environ["DB_PASSWORD"]',
    "The password is incorrect, please try again",
    "my secret is that I love cats",
    "token = tokenizer.next()",
    "version 1.2.3.4 of the library",
    "assert f([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]) == 120",
    "x = 4111111111111112 + y",
    "2020-06-20 14:11:22",
    "The population was 8,336,817 in 1990-1995",
    "std::vector<int> a::b",
    "127.0.0.1 and 255.255.255.0",
    "The order number is 123456789012",
    "pi is 3.14159265358979323846",
    "ISBN 978-3-16-148410-0",
    "2 + 2 = 4 and 10 000 000 people",
    "uuid 550e8400-e29b-41d4-a716-446655440000",
    "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)


@pytest.mark.parametrize(("kind", "marked"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_what_stands_between_the_marks_is_found_exactly(kind: str, marked: str) -> None:
    before, _, rest = marked.partition("<")
    value, _, after = rest.rpartition(">")
    text = before + value + after

    spans = PiiDetector().assess(text).spans

    assert (kind, len(before), len(before) + len(value)) in [(span.type, span.start, span.end) for span in spans]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert PiiDetector().assess(text).spans == ()


def test_a_word_near_by_makes_a_bare_number_a_phone_number() -> None:
    detector = PiiDetector()

    assert detector.assess("the result is 451 5986").spans == ()
    assert [span.type for span in detector.assess("my phone: 451 5986").spans] == ["PHONE"]

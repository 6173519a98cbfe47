"""Passwords, keys and tokens: those that look it, and those that somebody calls so."""

from __future__ import annotations

import re
from typing import Final

from crew_moe.domain.screening import PiiType
from crew_moe.screening.pii.checks import Check, anything
from crew_moe.screening.pii.rule import Rule

_TOKENS: Final = (
    r"sk-(?:ant-|proj-|or-v1-|live-|svcacct-)?[\w-]{20,200}+",
    r"(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,100}+",
    r"gh[pousr]_[0-9A-Za-z]{30,255}+",
    r"github_pat_\w{40,100}+",
    r"glpat-[\w-]{20,50}+",
    r"xox[abeoprs]-[0-9A-Za-z-]{10,200}+",
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[0-9A-Z]{16}",
    r"AIza[\w-]{35}",
    r"ya29\.[\w-]{20,400}+",
    r"eyJ[\w-]{8,4000}+\.eyJ[\w-]{8,8000}+\.[\w-]{8,2000}+",
    r"hf_[0-9A-Za-z]{30,50}+",
    r"npm_[0-9A-Za-z]{36}",
    r"pypi-[\w-]{40,400}+",
    r"SG\.[\w-]{16,32}+\.[\w-]{32,64}+",
    r"gsk_[0-9A-Za-z]{40,60}+",
    r"dop_v1_[0-9a-f]{64}",
    r"shpat_[0-9a-fA-F]{32}",
)

# What the value may not be: a type, a call, a placeholder, an ordinary word of a sentence about passwords.
_NO_VALUE: Final = re.compile(
    r"(?:str|string|bytes|int|integer|none|null|nil|true|false|undefined|optional|any|text|varchar|char|self|this|os|env"
    r"|config|settings|input|getpass|get|request|form|data|user|user_?name|pass|passwd|password|pwd|secret|token|key"
    r"|value|example|here|required|incorrect|correct|wrong|invalid|valid|expired|not|too|very|weak|strong|secure|insecure"
    r"|reset|changed|the|a|an|my|your|his|her|their|our|its|it|in|on|at|to|for|of|and|or|is|was|be|been|being"
    r"|hashed|encrypted|stored|empty|missing|long|short|used|sent|shown|set|protected|case|also|only|still|now"
    r"|already|never|always|that|which|what|something|please|change|process|session|params|args|kwargs|len"
    r"|(?:new|old|hash(?:ed)?|db|admin|root|user|plain)[_-]?(?:pass\w*|pwd|secret|token|key)"
    r"|(?:your|my|the|some|an?|example|test|dummy|fake)[-_ ].*|x+|\*+|\.+|-+|_+|#+|•+|\d{1,3}|https?:.*"
    r"|(?:hash|bcrypt|sha\d|md5|encrypt|decrypt|generate|random|create)\w*"
    r"|[a-z_]\w*\(.*|[a-z_]\w*(?:\.[a-z_]\w*)+(?:[(\[].*)?|[a-z_]\w*\[.*|[<${%\[(].*|%s)",
    re.IGNORECASE,
)


def _secret(value: str) -> int:
    """How long the secret after `password` is; 0 for a placeholder, a piece of code or an ordinary word."""
    trimmed = value.rstrip(".,;:?)\"'`")
    return len(trimmed) if len(trimmed) >= 4 and not _NO_VALUE.fullmatch(trimmed) else 0


def _telling(value: str) -> int:
    """As `_secret`, for prose, where only a mixture can be told from a word."""
    length = _secret(value)
    chosen = value[:length]
    mixed = not chosen.isalpha() or (chosen != chosen.lower() and chosen[1:] != chosen[1:].lower())
    return length if mixed else 0


_NAMES: Final = (
    r"(?:password|passwd|pw\b|passphrase|passcode|pwd|pass ?word|pass ?code|api[_ -]?key|secret[_ -]?key"
    r"|access[_ -]?key|private[_ -]?key|(?:auth|access|refresh|bearer|api)[_ -]?token"
    r"|client[_ -]?secret|secret|token|pin[_ ]code|pin"
    r"|contraseña|passwort|kennwort|mot de passe|senha|wachtwoord|hasło|пароль|密码|パスワード)"
)
_HINTS: Final = (
    "pass", "pw", "key", "secret", "token", "pin", "contraseña", "kennwort", "senha", "wachtwoord", "hasło", "пароль",
    "密码", "パスワード",
)  # fmt: skip
_START: Final = r"(?<![a-z0-9])"
_SIGN: Final = r"[\"']?\s{0,2}(?::=|=>|[:=：])\s{0,3}"
_SAYS: Final = (
    r"(?:\s(?:for|to|of|on)(?:\s[\w.'-]{1,24}){1,4}?)?\s"
    r"(?:(?:has |have |had )?(?:been )?(?:set|changed|reset|updated) to|is|was|ist|es|est|are|will be|should be"
    r"|to|as|-)"
    r"(?:\snow|\sstill|\salso)?:?\s"
)


def _named(pattern: str, score: float, check: Check) -> Rule:
    found = re.compile(_START + _NAMES + pattern)
    return Rule(type=PiiType.PASSWORD, pattern=found, score=score, check=check, needs=_HINTS, lower=True)


def _shown(pattern: str, *needs: str, check: Check = anything) -> Rule:
    return Rule(type=PiiType.PASSWORD, pattern=re.compile(pattern), score=0.97, check=check, needs=needs)


SECRETS: Final = (
    _shown(
        r"(?<![\w-])(?:" + "|".join(_TOKENS) + r")(?![\w-])",
        *(
            "sk",
            "rk_",
            "pk_",
            "gh",
            "glpat",
            "xox",
            "akia",
            "asia",
            "agpa",
            "aida",
            "aroa",
            "aiza",
            "ya29",
            "eyj",
            "hf_",
        ),
        *("npm_", "pypi-", "sg.", "dop_", "shpat"),
    ),
    _shown(
        r"-----BEGIN (?:[A-Z]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[^-]{0,8000}+"
        r"(?:-----END (?:[A-Z]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
        "private key",
    ),
    _shown(
        r"(?<=://)[\w.%+-]{0,64}+:(?P<value>[^\s:@/]{3,128}+)@(?=[\w\[])", "://", check=_secret
    ),  # user:password@host
    _shown(r"(?<![\w-])[Bb]earer\s{1,2}(?P<value>[\w.~+/-]{16,4000}+={0,2})", "bearer", check=_secret),
    _named(_SIGN + r"\"(?P<value>[^\"\n]{4,200}+)\"", 0.8, _secret),
    _named(_SIGN + r"'(?P<value>[^'\n]{4,200}+)'", 0.8, _secret),
    _named(_SIGN + r"(?P<value>[^\s\"',;]{4,200}+)", 0.8, _secret),
    _named(r"s?\s[\"'`“]?(?P<value>(?=[^\s\d]{0,32}\d)[^\s\"'`”]{5,64}+)", 0.6, _telling),
    _named(_SAYS + r"[\"'`“]?(?P<value>[^\s\"'`”]{4,64}+)", 0.7, _telling),
)

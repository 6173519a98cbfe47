"""Tokens: what is accepted, and that nothing else ever is."""

from __future__ import annotations

import hmac
import json
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_moe.auth.caller import ALL_SCOPES, AccessScope, Caller, Unauthorized
from crew_moe.auth.claims import LEEWAY_S
from crew_moe.auth.signing_keys import KeysInFile
from crew_moe.auth.tokens import LONGEST, Tokens
from crew_moe.clock import ManualClock
from crew_moe.telemetry.events import Recorder
from tests.auth import issuing
from tests.auth.issuing import KeyPair, claims, ec_pair, forged, rsa_pair, token

PAIRS = pytest.mark.parametrize("pair", [rsa_pair(), ec_pair()], ids=["RS256", "ES256"])


def _verifier(folder: Path, pair: KeyPair | None = None, clock: ManualClock | None = None, **options: Any) -> Tokens:
    """One that knows the public half of the pair (default: `ec_pair()`), from a PEM file."""
    keys = KeysInFile(issuing.write_public_key(folder, pair), sink=Recorder())
    clock = clock or issuing.clock_now()
    return Tokens(issuer=issuing.ISSUER, audience=issuing.AUDIENCE, keys=keys, clock=clock, **options)


@pytest.fixture(scope="session")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return _verifier(tmp_path_factory.mktemp("auth"))


def _refused(answer: Caller | Unauthorized, code: str, told: str) -> None:
    assert isinstance(answer, Unauthorized)
    assert (answer.code, told in answer.message) == (code, True), answer


@PAIRS
def test_a_good_token_says_who_comes(tmp_path: Path, pair: KeyPair) -> None:
    given = token(pair, roles=["dev", "ops"], channel="c1", workspace="w1", scope="router:read other router:report")

    caller = _verifier(tmp_path, pair).verify(given)

    assert isinstance(caller, Caller)
    principal = caller.principal
    assert (principal.subject, principal.tenant, principal.roles) == ("client-7", "acme", frozenset({"dev", "ops"}))
    assert (principal.channel, principal.workspace) == ("c1", "w1")
    assert caller.scopes == frozenset({AccessScope.READ, AccessScope.REPORT})


@pytest.mark.parametrize(
    ("changed", "code", "told"),
    [
        ({"exp": 1}, "expired", "has expired"),
        ({"nbf": 99_999_999_999}, "invalid", "not valid yet"),
        ({"iat": 99_999_999_999}, "invalid", "not valid yet"),
        ({"iss": "https://other.example"}, "invalid", "another issuer"),
        ({"iss": ["https://issuer.example"]}, "invalid", ""),
        ({"aud": "other"}, "invalid", "another audience"),
        ({"aud": ["other", "more"]}, "invalid", "another audience"),
        ({"exp": None}, "invalid", "'exp' is missing"),
        ({"iss": None}, "invalid", "'iss' is missing"),
        ({"aud": None}, "invalid", "'aud' is missing"),
        ({"sub": None}, "invalid", "'sub' is missing"),
        ({"sub": ""}, "invalid", "'sub' is not as it should be"),
        ({"sub": 7}, "invalid", ""),
        ({"sub": "x" * 201}, "invalid", "'sub' is not as it should be"),
        ({"exp": "4102444800"}, "invalid", "'exp' is not as it should be"),
        ({"exp": True}, "invalid", "'exp' is not as it should be"),
        ({"exp": float("inf")}, "invalid", "'exp' is not as it should be"),
        ({"nbf": "yesterday"}, "invalid", "'nbf' is not as it should be"),
        ({"tenant": None}, "invalid", "names no tenant"),
        ({"tenant": ""}, "invalid", "'tenant' is not as it should be"),
        ({"tenant": " "}, "invalid", "'tenant' is not as it should be"),
        ({"tenant": ["acme"]}, "invalid", "'tenant' is not as it should be"),
        ({"roles": "admin"}, "invalid", "'roles' is not as it should be"),
        ({"scope": {"router:read": True}}, "invalid", "'scope' is not as it should be"),
    ],
)
def test_wrong_claims_are_refused(verifier: Tokens, changed: dict[str, Any], code: str, told: str) -> None:
    # Signed by hand: the library that makes tokens would refuse some of these itself.
    signer = jwt.get_algorithm_by_name("ES256")
    made = forged({"alg": "ES256"}, claims(**changed), lambda text: signer.sign(text, ec_pair().private))

    _refused(verifier.verify(made), code, told)


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "router:read  router:admin"}, {"router:read", "router:admin"}),
        ({"scope": ["router:read"]}, {"router:read"}),
        ({"scope": None, "scp": ["router:report", "email"]}, {"router:report"}),
        ({"scope": None, "scp": "router:report router:execute"}, {"router:report", "router:execute"}),
        ({"scope": None, "scopes": ["router:execute"]}, {"router:execute"}),
        ({"scope": "", "scopes": ["router:admin"]}, set()),
        ({"scope": "router:*"}, set()),
        ({"scope": "ROUTER:READ router:readx"}, set()),
        ({"scope": None}, set()),
    ],
)
def test_scopes_are_read_in_each_of_their_forms(verifier: Tokens, given: dict[str, Any], scopes: set[str]) -> None:
    caller = verifier.verify(token(**given))

    assert isinstance(caller, Caller)
    assert {scope.value for scope in caller.scopes} == scopes


def test_only_an_administrator_may_be_without_a_tenant(verifier: Tokens) -> None:
    caller = verifier.verify(issuing.admin_token(tenant=None))

    assert isinstance(caller, Caller)
    assert (caller.tenant, caller.scopes) == (None, ALL_SCOPES)


def test_the_audience_may_be_one_of_several(verifier: Tokens) -> None:
    assert isinstance(verifier.verify(token(aud=["other", issuing.AUDIENCE])), Caller)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a.b.c", "e30.e30.", "eyJhbGciOiJFUzI1NiJ9..", "ü.b.c", "\ud800"],
)
def test_what_is_no_token_is_refused(verifier: Tokens, text: str) -> None:
    _refused(verifier.verify(text), "invalid", "")


def test_a_token_of_any_length_is_not_even_looked_at(verifier: Tokens) -> None:
    assert isinstance(verifier.verify(token(note="x" * 1000)), Caller)
    _refused(verifier.verify(token(note="x" * LONGEST)), "invalid", "neither a token nor")


@PAIRS
@pytest.mark.parametrize("padding", ["=", "==", " ", "\n", "."])
def test_a_token_is_written_in_one_way(tmp_path: Path, pair: KeyPair, padding: str) -> None:
    _refused(_verifier(tmp_path, pair).verify(token(pair) + padding), "invalid", "neither a token nor")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", None, ["ES256"], 7])
def test_an_unsigned_token_is_refused(verifier: Tokens, name: Any) -> None:
    _refused(verifier.verify(forged({"alg": name, "typ": "JWT"}, claims())), "invalid", "")


@PAIRS
@pytest.mark.parametrize("kid", [None, "ec-1"])
def test_the_public_key_is_no_shared_secret(tmp_path: Path, pair: KeyPair, kid: str | None) -> None:
    """Key confusion: what everybody may know signs nothing."""
    secret = pair.public_pem.encode()
    for algorithm, digest in (("HS256", "sha256"), ("HS512", "sha512")):
        made = forged({"alg": algorithm, "kid": kid}, claims(), partial(hmac.digest, secret, digest=digest))
        _refused(_verifier(tmp_path, pair).verify(made), "invalid", "")


def test_an_algorithm_that_is_not_the_keys_own_is_refused(tmp_path: Path) -> None:
    verifier = _verifier(tmp_path, rsa_pair())

    for algorithm in ("RS384", "RS512", "PS256"):
        made = jwt.encode(claims(), rsa_pair().private, algorithm)
        _refused(verifier.verify(made), "invalid", "valid: RS256, ES256")
    _refused(verifier.verify(token(ec_pair())), "invalid", "not known here")


@PAIRS
def test_a_stranger_of_the_same_name_is_refused(tmp_path: Path, pair: KeyPair) -> None:
    stranger = rsa_pair("stranger") if pair.algorithm == "RS256" else ec_pair("stranger")

    _refused(_verifier(tmp_path, pair).verify(token(stranger, headers={"kid": pair.key_id})), "invalid", "signature")


def test_a_key_that_the_token_brings_along_counts_for_nothing(verifier: Tokens) -> None:
    stranger = ec_pair("stranger")
    for brought in ({"jwk": stranger.jwk}, {"jku": "http://127.0.0.1:1/jwks"}, {"x5u": "http://127.0.0.1:1/x"}):
        _refused(verifier.verify(token(stranger, headers=brought)), "invalid", "signature")


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"kid": 7}, {"kid": None}])
def test_a_header_that_demands_more_is_refused_or_without_effect(verifier: Tokens, header: dict[str, Any]) -> None:
    signer = jwt.get_algorithm_by_name("ES256")
    made = forged({"alg": "ES256", **header}, claims(), lambda text: signer.sign(text, ec_pair().private))

    answer = verifier.verify(made)

    assert isinstance(answer, Unauthorized) or header == {"kid": None}


def test_clocks_may_differ_a_little(tmp_path: Path) -> None:
    clock = issuing.clock_now()
    now = clock.now().timestamp()
    verifier = _verifier(tmp_path, clock=clock)

    assert isinstance(verifier.verify(token(exp=int(now - LEEWAY_S + 2))), Caller)
    assert isinstance(verifier.verify(token(nbf=int(now + LEEWAY_S - 2))), Caller)
    _refused(verifier.verify(token(exp=int(now - LEEWAY_S - 2))), "expired", "")
    _refused(verifier.verify(token(nbf=int(now + LEEWAY_S + 2))), "invalid", "")


def test_a_remembered_token_ends_when_it_expires(tmp_path: Path) -> None:
    clock = issuing.clock_now()
    verifier, given = _verifier(tmp_path, clock=clock), token()
    first = verifier.verify(given)

    assert verifier.verify(given) is first
    clock.advance(issuing.LIFE_S + LEEWAY_S + 1)
    _refused(verifier.verify(given), "expired", "")


def test_a_remembered_token_is_not_verified_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, given = _verifier(tmp_path), token()
    first = verifier.verify(given)
    monkeypatch.setattr(verifier, "_claims", lambda _: pytest.fail("was verified again"))

    assert verifier.verify(given) is first


def test_no_more_tokens_are_remembered_than_agreed(tmp_path: Path) -> None:
    verifier = _verifier(tmp_path, remembered=3)
    for number in range(10):
        assert isinstance(verifier.verify(token(sub=f"s{number}")), Caller)

    assert len(verifier._known) == 3


def test_what_was_remembered_goes_with_the_key(tmp_path: Path) -> None:
    verifier, given = _verifier(tmp_path), token()
    assert isinstance(verifier.verify(given), Caller)

    issuing.write_public_key(tmp_path, rsa_pair())

    _refused(verifier.verify(given), "invalid", "not known here")


def test_no_answer_repeats_what_was_sent(verifier: Tokens) -> None:
    secret = "very-secret-value"
    bad: list[dict[str, Any]] = [{"tenant": [secret]}, {"iss": secret}, {"aud": secret}, {"roles": secret}]
    for sent in [*(token(**changed) for changed in bad), secret, f"{secret}.{secret}.{secret}"]:
        answer = verifier.verify(sent)
        assert isinstance(answer, Unauthorized)
        assert secret not in answer.message
        assert sent not in answer.message


GOOD = token(rsa_pair())
ALPHABET = "ABCXYZabcxyz0129-_.=+/ "


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return _verifier(tmp_path_factory.mktemp("mutated"), rsa_pair())


@given(at=st.integers(0, len(GOOD) - 1), letter=st.sampled_from(ALPHABET), how=st.sampled_from(["put", "add", "cut"]))
def test_a_mutated_token_never_verifies(strict: Tokens, at: int, letter: str, how: str) -> None:
    tail = {"put": GOOD[at + 1 :], "add": GOOD[at:], "cut": GOOD[at + 1 :]}[how]
    mutated = GOOD[:at] + ("" if how == "cut" else letter) + tail

    answer = strict.verify(mutated)

    assert isinstance(answer, Unauthorized) or mutated == GOOD


VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), VALUES),
    payload=st.dictionaries(st.text(), VALUES),
    signature=st.binary(max_size=80),
)
def test_no_made_up_token_verifies_or_raises(
    strict: Tokens, header: dict[str, Any], payload: dict[str, Any], signature: bytes
) -> None:
    assert isinstance(strict.verify(forged(header, claims() | payload, lambda _: signature)), Unauthorized)
    assert isinstance(strict.verify(json.dumps(header)), Unauthorized)

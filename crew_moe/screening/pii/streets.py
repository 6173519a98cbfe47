"""Pieces of the patterns of postal addresses. Whole words stand in the lexicon, among the clues."""

from __future__ import annotations

from typing import Final

# Pohlstrasse 9, Nybyvägen 65, Brixtonlaan 380
ENDINGS: Final = (
    "strasse", "straße", "str.", "gasse", "allee", "platz", "damm", "steig", "stieg", "straat", "laan", "plein",
    "gracht", "singel", "dijk", "gaten", "gata", "gate", "vägen", "gränd", "torget", "vej", "vejen", "vei",
    "veien", "gade", "stræde", "toften", "vænget", "bakken", "svingen", "katu", "tie", "polku", "kuja",
    "stræti", "vegur", "götu", "braut", "stígur", "terrasse", "weide", "kade", "weg", "gatan", "väg", "vollen",
    "moor", "wei", "moen",
)  # fmt: skip
STATES: Final = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]"
    r"|W[AIVY]|ON|QC|BC|AB|MB|SK|NS|NB|NSW|VIC|QLD|TAS)"
)
UNITS: Final = (
    r"(?i:apt|apartment|suite|ste|unit|flat|floor|fl|room|rm|building|bldg|app|appt|étage|piso|interno|lgh|lejl|dept"
    r"|wohnung|whg)"
)
NO_DATE: Final = (
    r"(?!(?:Jan|Febr)uary|March|April|May|Ju(?:ne|ly)|August|(?:Sept|Nov|Dec)ember|October"
    r"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)"
)
# Who is where: "we moved here from", "I live in", "who is coming to".
WHEREABOUTS: Final = (
    r"\b(?:i|we|she|he|they|who|my (?:family|parents|wife|husband|son|daughter))(?:['\u2019](?:m|re|s|ve|d))?"
    r"(?: \w+){0,2}? (?:live[sd]?|living|reside[sd]?|residing|based|born|raised|grew up|moved?|moving|relocat(?:ed|ing)"
    r"|staying|settled|coming|flying|from)(?: here| back| over| up| down)?(?: in| to| from| at| near)? \Z"
)
# Words right before an address that tell what follows.
CONTEXT: Final = (
    r"\b(?:address(?:es)?|adresse|dirección|indirizzo|endereço|adres|lives?|living|lived|reside[sd]?|residing|residence"
    r"|located|location|deliver(?:ed)?|ship(?:ped)?|mail(?:ed)?|billing|sent|send|return|taxi|meet (?:me|you|us|up)"
    r"|moved|relocated?|headquarters|pick (?:me|us) up|come|house)"
    r"(?: (?:of|for|to|at|on|in|is|are|was|it|me|us|them|over|here|the|from|now|following|will|be|as)\b|'s"
    r"| [\w.-]+(?= (?:is|to)\b)){0,4}:?\s{1,3}\Z"
)

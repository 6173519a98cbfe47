"""Toxic language: the words and turns of speech of abuse. WARNING: this file names slurs and insults.

The lists only help the model along: it learns from whole texts how each is used, and a word alone flags nothing.
"""

from __future__ import annotations

from typing import Final

from crew_moe.domain.screening import Concern
from crew_moe.screening.detector import LinearDetector
from crew_moe.screening.linear import LinearModel, packaged
from crew_moe.screening.patterns import Pattern, either, gap, lexicon, phrase, vocabulary

_SLURS: Final = (
    "nigger niggers nigga niggas niggaz nigguh spic spics wetback wetbacks beaner beaners chink chinks gook gooks "
    "jap japs kike kikes fag fags faggot faggots fagg dyke dykes tranny trannies shemale queers raghead ragheads "
    "towelhead towelheads sandnigger muzzie muzzies paki pakis gyppo gypo pikey redskin redskins injun honky whitey "
    "retard retards retarded mong tard libtard libtards halfbreed heeb zipperhead kanake kanaken neger zigeuner "
    "schwuchtel schwuchteln untermensch untermenschen"
)
_INSULTS: Final = (
    "idiot idiots idiotic moron morons moronic imbecile imbeciles stupid dumb maggot maggots demented monster "
    "monsters bigot bigots traitor traitors crooked senile fatty dumbass dumbasses dimwit halfwit nitwit loser "
    "losers scum scumbag scumbags trash garbage vermin cockroach cockroaches parasite parasites filth filthy "
    "pathetic worthless disgusting disgrace coward cowards liar liars creep creeps pervert perverts pedo pedos "
    "pedophile freak freaks ugly fat fatass hag hags crackhead junkie lowlife lowlifes psycho psychopath nutcase "
    "lunatic twat twats wanker wankers prick pricks dickhead dickheads asshole assholes arsehole arseholes jackass "
    "jackasses bastard bastards douche douchebag douchebags turd turds thug thugs pos sob snowflake snowflakes "
    "bimbo airhead trumptard trumpster trumpsters demonrat demonrats dimwits fool fools subhuman subhumans savage "
    "savages degenerate degenerates imbécil idioten dummkopf arschloch arschlöcher hurensohn missgeburt wichser "
    "drecksau spast"
)
_PROFANE: Final = (
    "fuck fucks fucked fucker fuckers fuckin fucking fuk fck fkn fking wtf stfu gtfo ffs fu shit shits shitty "
    "shithead shithole bullshit horseshit dipshit piss pissed damn goddamn goddam hell ass asses arse bloody "
    "motherfucker motherfuckers motherfucking mofo mfer mfr effing fjb scheisse verdammt kacke merde putain mierda "
    "puta cazzo kurwa blyat"
)
_SEXUAL: Final = (
    "bitch bitches bitchass biatch hoe hoes whore whores slut sluts slutty skank skanks thot thots tramp cunt cunts "
    "pussy pussies cock cocks dick dicks tits titties boobs cum cumming jizz blowjob dildo porn horny rape raped "
    "rapist raping molest pussyass cuck cucks cocksucker cocksuckers tit hooker hookers hure nutte fotze schlampe"
)
_VIOLENT: Final = (
    "kill killed kills die dead death hang hanged lynch lynched shoot shot stab beat burn gas gassed exterminate "
    "exterminated eradicate execute executed euthanasia euthanize slaughter behead castrate deport deported nuke "
    "hurt punch smash strangle drown rot töten vergasen umbringen abschieben"
)
_GROUPS: Final = either(
    "women men muslims? islam jews? jewish christians? catholics? blacks? whites? asians? mexicans? immigrants? "
    "migrants? refugees? gays? lesbians? homosexuals? trans transgender~2 queers? liberals? conservatives? "
    "republicans? democrats? indians? arabs? africans? chinese foreigners disabled gyps~3 feminists? females? girls "
    "boomers? leftists? negros?"
)

PATTERNS: Final[tuple[Pattern, ...]] = (
    lexicon("slur", _SLURS),
    lexicon("insult", _INSULTS),
    lexicon("profanity", _PROFANE),
    lexicon("sexual", _SEXUAL),
    lexicon("violence", _VIOLENT),
    phrase(
        "insult_to_you",
        "you u r ur your youre",
        r"\b(?:you(?:'re| are)?|ur?|u r|you all|your) (?:\w{1,12} ){0,3}?",
        either("idiot moron stupid dumb loser scum trash pathetic worthless ugly bitch ass piece fool"),
        r"\b",
    ),
    phrase(
        "group_is_bad",
        "are is",
        r"\b", _GROUPS, r" (?:\w{1,12} ){0,2}?(?:are|is|r) (?:\w{1,12} ){0,3}?",
        either(
            "stupid dumb trash scum vermin animals? subhuman~1 disgusting evil inferior filth~1 criminals? rapists? "
            "terrorists? parasites? worthless lazy dirty violent disease plague cancer pigs rats whores? sluts? "
            "liars? thieves apes monkeys"
        ),
        r"\b",
    ),
    phrase(
        "hatred_of_group",
        "hate despise loathe detest can sick fed",
        r"\b(?:hate|hates|despise|loathe|detest|can't stand|sick of|fed up with)", gap(3), _GROUPS, r"\b",
    ),
    phrase(
        "harm_to_group",
        "kill deport exterminate shoot gas hang burn ban wipe eradicate lynch bomb get lock gas",
        r"\b",
        either("kill deport exterminate shoot gas hang burn ban wipe_out eradicate lynch bomb get_rid_of lock_up"),
        gap(3), _GROUPS, r"\b",
    ),
    phrase(
        "not_belonging",
        "go don do doesn should hope",
        r"\bgo back to (?:your|where|africa|mexico|china)\b|\b(?:don't|do not|doesn't) (?:belong|deserve to)\b|",
        r"\bshould (?:all )?(?:be|get|have been) (?:\w{1,10} )?",
        either("shot hanged hung killed deported raped banned gassed burned"), r"\b|",
        r"\b(?:should|hope you|hope they|hope he|hope she) (?:all |just )?(?:die|rot|burn|suffer|drop dead)\b",
    ),
    phrase(
        "threat",
        "kill hang shoot kys drop watch i ill im gonna we wanna want",
        r"\b(?:i'?ll|i will|i'm going to|im gonna|gonna|we will|i should|wanna|want to) (?:\w{1,10} ){0,2}?",
        r"(?:kill|hurt|find|beat|break|cut|stab|shoot|rape|punch|slap|smack) (?:you|ya|him|her|them|your|u|all|his)\b|",
        r"\b(?:kill|hang|shoot) (?:yourself|urself|themselves|himself|herself)\b|",
        r"\bkys\b|\bdrop dead\b|\bwatch your back\b",
    ),
    phrase(
        "aggression",
        "shut go fuck suck screw eat kiss up rot piece",
        r"\bshut (?:the \w{1,8} |your \w{1,8} )?up\b|\bgo (?:to hell|die|fuck|screw|choke)\b|",
        r"\bfuck (?:you|off|u|him|her|them|all|the)\b|\bsuck (?:my|a|it)\b|\bscrew you\b|\beat shit\b|",
        r"\bkiss my\b|\bup yours\b|\brot in hell\b|\bpiece of (?:shit|crap|trash)\b",
    ),
    phrase(
        "masked",
        "* @ $ # ! sh1t b1tch d1ck s1 d1",
        r"\b(?:f[*@#$!]{1,3}c?k|s[*@#$!1]{1,2}t|sh[*@#!1]t|b[*@#!1]tch|b[*@#]{2,4}h|a[*@#$]{2}|",
        r"c[*@#]nt|d[*@#!1]ck|n[*@#!1]gg|f[*@#]gg?)",
    ),
)  # fmt: skip

# What somebody may want to hide behind digits, blanks or marks.
VOCABULARY: Final = vocabulary(f"{_SLURS} {_INSULTS} {_PROFANE} {_SEXUAL}")


class ToxicityDetector(LinearDetector):
    """Finds abuse, hatred and threats; without a model of your own, with the one that ships."""

    __slots__ = ()

    def __init__(self, model: LinearModel | None = None) -> None:
        super().__init__(model=model or packaged(Concern.TOXICITY), patterns=PATTERNS, vocabulary=VOCABULARY)

"""Prompt injection and jailbreaks: the turns of speech they are made of, and the detector that ships.

It sees who speaks to the model as if giving it orders: overriding, leaking, changing its role, hiding the order. What
a linear model over n-grams can't see is an order that reads like any other sentence and is wrong only where it stands:
an e-mail that says "answer in French" is as harmless by its words as the same request of the user. Such indirect
injections need the knowledge of who wrote which part; of those this detector finds only the ones that speak like
attacks.
"""

from __future__ import annotations

from typing import Final

from crew_moe.domain.screening import Concern
from crew_moe.screening.detector import LinearDetector
from crew_moe.screening.linear import LinearModel, packaged
from crew_moe.screening.patterns import Pattern, either, gap, phrase, vocabulary

_DROP: Final = r"\b" + either(
    "ignor~5 disregard~3 forget~4 neglect overlook abandon discard dismiss override overrule bypass skip erase delete "
    "drop void cancel unlearn do_not_follow don't_follow stop_following pay_no_attention "
    "vergiss vergessen ignorier~4 missachte~2 verwirf überspring~3 olvid~4 oubli~4 dimentica~3 esquec~3 desconsider~3 "
    "negeer vergeet zapomnij zignoruj zaboravi~2 glöm unut yoksay забудь~2 игнорируй~2"
)
_BEFORE: Final = either(
    "previous~2 prior above preceding earlier before foregoing past original initial existing all every~5 any anything "
    "your the these those vorherig~2 obig~2 bisherig~2 früher~2 vorangegangen~2 alle~2 alles davor previas? anterior~2 "
    "todas? todos? toutes? tous précédent~2 precedenti tutte vorige eerdere poprzedni~3 wszystki~3 sve prethodn~2 "
    "tidigare önceki все предыдущ~3"
)
_ORDERS: Final = (
    either(
        "instruct~5 directions? directives? orders? commands? prompts? rules? guidelines? guidance policy "
        "policies tasks? assignments? constraints? restrictions? context conversation messages? training programming "
        "system limits? "
        "anweisung~2 instruktion~5 befehle?n? aufgaben? aufträge?n? regeln? vorgaben? angaben? richtlinien? instruc~6 "
        "ordenes reglas? consignes? règles istruzion~1 regole ordens opdracht~2 regels instrukcj~2 polecen~2 upute "
        "talimat~5 инструкци~2 указани~2 правила?"
    )
    + r"\b"
)
_SHOW: Final = r"\b" + either(
    "reveal show print repeat output display disclose leak tell_me give_me return expose spell_?check recite dump "
    "write_out echo translate summari[sz]e copy share list what_is what_are what_was what_were zeige? verrate? nenne? "
    "wiederhole? drucke? gib schreibe? muestra revela dime montre affiche mostra rivela mostre toon pokaż prikaži visa "
    "göster покажи раскрой"
)
_OWNED: Final = either("system initial original hidden secret internal full entire complete whole developer first your")
_WRITTEN: Final = either("text words? sentence instructions? everything written said told")
_PROMPT: Final = (
    "(?:"
    + _OWNED
    + r"\W{1,3}"
    + either("prompt~6 instruct~5 message configuration directives? rules guidelines embeddings")
    + rf"|{_WRITTEN} (?:\w{{1,12}} ){{0,3}}(?:above|before|so far)|prompt\W{{0,2}}texte?n?|systemprompt|"
    + either("gesamten? ursprünglichen? vollständigen?")
    + " "
    + either("prompt text anweisung~2")
    + r"|prompt (?:de )?(?:del )?(?:sistema|systeme|inicial)|системн\w{0,4} (?:промпт|подсказк)\w{0,2})"
)
_MODEL: Final = either(
    r"chat_?gpt gpt\W?\d? openai claude gemini bard llama assistant language_model the_ai an_ai chatbot"
)
_PERSONA: Final = either(
    "dan stan dude aim jailbreak~4 evil unfiltered uncensored amoral unrestricted unbound unhinged"
)
_LIMITS: Final = either(
    "restrict~4 limit~6 filter~3 censor~4 moral~3 ethic~4 guidelines? policy policies rules boundaries constraints? "
    "disclaimers? warnings? safeguards? refusals?"
)
_NAMES: Final = either("openai anthropic google microsoft meta")

PATTERNS: Final[tuple[Pattern, ...]] = (
    phrase(
        "override",
        "ignore disregard forget neglect overlook abandon discard dismiss override bypass skip erase delete drop "
        "void cancel unlearn do don stop pay vergiss ignorier missachte verwirf überspring olvid oubli dimentica "
        "esquec desconsider negeer vergeet zapomnij zignoruj zaboravi glöm unut yoksay забудь игнорируй",
        _DROP, gap(3), _BEFORE, gap(4), _ORDERS,
    ),
    phrase(
        "clean_slate",
        "ignore disregard forget neglect overlook abandon discard dismiss override bypass skip erase delete drop "
        "void cancel unlearn do don stop pay vergiss ignorier missachte verwirf überspring olvid oubli dimentica "
        "esquec desconsider negeer vergeet zapomnij zignoruj zaboravi glöm unut yoksay забудь игнорируй",
        _DROP, r"\W{1,4}(?:about )?(?:everything|anything|what(?:ever)?|all|alles|todo|tout|tutto|tudo|sve|wat)\b",
    ),
    phrase(
        "prompt_leak",
        "prompt instruct above before embeddings directive guideline configuration message rules so text "
        "systemprompt anweisung промпт подсказк",
        _SHOW, gap(6), _PROMPT,
    ),
    phrase(
        "new_orders",
        "new updated real actual neue neuer neues nuev nouvelles",
        r"\b(?:new|neue[nrs]?|nuevas?|nouvelles?|updated|real|actual) ",
        either("instruct~5 tasks? orders? rules? role persona prompt challenge aufgaben? anweisung~2 statement"),
        r"\b",
    ),
    phrase(
        "instead",
        "instead stattdessen lugar place",
        r"\b(?:instead|stattdessen|en su lugar|à la place)\W{1,3}(?:of \w{1,20} )?",
        either("say print output write tell answer respond reply repeat do give return translate just sag~2 schreib~1"),
        r"\b",
    ),
    phrase(
        "say_exactly",
        "say print repeat respond answer output reply sag sage sagt",
        r"\b(?:only|just|simply|always|nur|einfach) (?:say|print|repeat|respond|answer|output|reply|sag\w{0,2})\b|",
        r"\b(?:say|print|repeat|output|(?:respond|answer) with)\W{1,4}",
        r"(?:after me|exactly|only|the (?:word|phrase|sentence))\b",
    ),
    phrase(
        "amnesia",
        "told said instructed learned discussed besprochen gesagt well very good great sehr gut super okay",
        r"\b(?:told|said|instructed|learned|discussed|besprochen|gesagt) (?:\w{1,12} ){0,2}",
        r"(?:before|earlier|above|so far|until now|haben)\b|",
        r"\b(?:well done|very good|great|good job|sehr gut|gut gemacht|super|okay)\W{1,3}(?:\w{1,12}\W{1,2}){0,5}",
        r"(?:now|next|passed|nun|jetzt|first test|vergiss|forget)\b",
    ),
    phrase(
        "no_limits",
        "no without free not zero",
        r"\b(?:no|without(?: any)?|free (?:of|from)(?: all| any)?|not (?:bound|limited|restricted) by(?: any)?|zero)",
        r"\W{1,3}(?:\w{1,16}\W{1,3}){0,3}?", _LIMITS, r"\b",
    ),
    phrase(
        "do_anything",
        "anything",
        r"\b(?:do|does|doing|say|generate|answer|perform) (?:absolutely |literally )?anything"
        r"(?: now| and everything| i (?:ask|say|want))?\b",
    ),
    phrase(
        "persona",
        "dan stan dude aim jailbreak evil unfiltered uncensored amoral unrestricted unbound unhinged",
        r"\b", _PERSONA, r"\W{1,4}(?:mode|bot|ai|version|persona|prompt|response|character|gpt|confidant)\b|",
        r"\b(?:named?|called|as|you are|you're|be|become|act like|enable|activate) (?:now |a |an |the )?",
        _PERSONA, r"\b",
    ),
    phrase(
        "mode_switch",
        "mode modus modo developer_mode dev_mode debug_mode god_mode admin_mode root_mode sudo_mode jail",
        r"\b", either("developer dev debug god admin root maintenance jailbreak unrestricted sudo opposite evil"),
        r"[ _-]{1,2}(?:mode|modus|modo)\b|\bmode\W{1,3}(?:enabled|activated|unlocked|on|engaged)\b",
    ),
    phrase(
        "becomes_other",
        "you from du sie ab a désormais d od vanaf этого теперь",
        r"\b(?:you are (?:now|no longer|going to)|from (?:now|here) on|",
        r"you(?:'re| are) (?:about )?to (?:immerse|act|become|play)|",
        r"you will (?:now )?(?:act|be|become|play|pretend|respond|answer|simulate)|",
        r"(?:du|sie) (?:bist|sind) (?:jetzt|nun)|",
        r"(?:ab jetzt|ab sofort|a partir de ahora|désormais|d'ora in poi|a partir de agora|od sada|vanaf nu)|",
        r"(?:этого момента|теперь ты))\b",
    ),
    phrase(
        "in_character",
        "character role rolle",
        r"\b(?:stay|remain|keep|never break|don't break|do not break|breaking|break) (?:in |of |your |out of )?",
        r"(?:character|the role)\b|\b(?:in der rolle bleiben|bleib in deiner rolle)\b",
    ),
    phrase(
        "no_refusal",
        "refuse refusal apolog say sorry reject deny decline warn mention as i",
        r"\b(?:never|not|don't|doesn't|cannot|can't|won't|no) (?:\w{1,12} ){0,3}?(?:refus\w{0,3}|apologi[sz]\w{0,3}|",
        r"say (?:you )?(?:no|sorry|can't|cannot)|reject\w{0,3}|deny|decline|warn|mention (?:that )?you)\b|",
        r"\bas an ai (?:language )?model\b|\bi(?:'m| am) sorry,? (?:but )?i can",
    ),
    phrase(
        "its_makers",
        "openai anthropic google microsoft meta content",
        rf"\b{_NAMES}(?:'s)?\W{{1,3}}(?:\w{{1,12}}\W{{1,3}}){{0,2}}?",
        either("policy policies guidelines? rules restrictions? limitations? filters?"), r"\b|",
        r"\bcontent ", either("policy policies filters? restrictions? guidelines? moderation"), r"\b",
    ),
    phrase(
        "confinement",
        "free confines sandbox cage shackles",
        r"\b(?:broken free|break free|free yourself|confines of|escape (?:your|the) (?:sandbox|cage)|shackles)\b",
    ),
    phrase(
        "two_answers",
        "two both 2",
        r"\b(?:two|both|2) (?:different |separate |distinct )?",
        either("responses? answers? ways paragraphs? outputs? personas? personalit~3 repl~3"), r"\b",
    ),
    phrase(
        "tokens_game",
        "token point live",
        r"\b(?:lose|deduct\w{0,3}|have|start with|given|minus) (?:\w{1,10} ){0,3}?(?:tokens?|points?|lives)\b",
    ),
    phrase(
        "fake_turn",
        "system sys admin developer root instruction override <| << ##",
        r"<\|?/?(?:im_start|im_end|system|assistant|user|endoftext|eot_id|start_header_id|end_header_id)\W{0,3}\|?>|",
        r"\[/?(?:inst|sys|system|admin|override)\]|<< ?/?sys ?>>|",
        r"#{2,4} {0,2}(?:system|new instruction|new task)s?\b|",
        r"\b(?:system|admin|developer|root) ?(?:message|override|notice|update|prompt|command|note)? {0,2}[:>\]]{1,2}",
    ),
    phrase(
        "closing_line",
        "end --- === *** ### ___ ~~~ ''' \"\"\" ```",
        r"(?:[-=*#_~\"`]{3,10}) {0,2}(?:end|begin|start|new|stop|system|user|ignore|real|above)\b|",
        r"\bend of (?:\w{1,12} ){0,2}(?:prompt|instructions?|context|document|text|conversation|input|message|email)\b",
    ),
    phrase(
        "secret_out",
        "password passphrase secret api key credential access confidential",
        r"\b(?:reveal|tell|give|what is|what's|share|print|show|send|leak|spell|hint|encode) (?:\w{1,12} ){0,4}?",
        r"(?:password|passphrase|secret(?: key| word| code)?|api key|credentials?|access code|confidential)\b",
    ),
    phrase(
        "split_payload",
        "concat combine assemble join append decode decrypt decipher deobfuscate de payload =",
        r"\b(?:concatenat\w{1,3}|combine|assemble|join|append) (?:\w{1,12} ){0,4}?",
        either("variables? strings? parts? fragments? pieces letters"),
        r"\b|\b(?:decode|decrypt|decipher|de-?obfuscate) (?:\w{1,12} ){0,6}?(?:and|then) (?:\w{1,12} ){0,2}?",
        either("follow execute answer do respond obey run comply"),
        r"\b|\bpayload|\b[a-z]\w? ?= ?[\"'][^\"'\n]{1,30}[\"'][;,]? {0,2}(?:and )?[a-z]\w? ?= ?[\"']",
    ),
    phrase(
        "hypothetically",
        "hypothetical theoretical fictional fictitious imaginary pretend educational for",
        r"\b(?:hypothetical(?:ly)?|theoretical(?:ly)?|fictional|fictitious|imaginary|pretend|for educational purposes)",
        r"(?: \w{1,16}){0,6}? ",
        r"(?:world|universe|where|scenario|story|response|no (?:laws|rules|ethics|morals)|legal|allowed)\b",
    ),
    phrase(
        "obey",
        "obey comply follow fulfil accept without",
        r"\b(?:must|will|shall|always|have to|has to|required to) (?:\w{1,12} ){0,2}?",
        r"(?:obey|comply|follow (?:all|every|my|any)|fulfil\w?|accept (?:any|all|every))\b|",
        r"\b(?:obey (?:me|all|every|any|my)|without (?:question|hesitation))\b",
    ),
    phrase(
        "addressed",
        "gpt gpt3 gpt4 openai claude gemini bard llama assistant language ai chatgpt as",
        r"\b(?:hello|hi|hey|dear|ok(?:ay)?|listen)[, ]{1,2}", _MODEL, r"\b|\bas (?:chat ?gpt|an ai)\b|\bchat ?gpt\b",
    ),
    phrase(
        "authority",
        "this i passed",
        r"\bthis is (?:only |just )?(?:a|an) (?:\w{1,12} )?(?:test|drill|audit|emergency)\b|",
        r"\bi(?:'m| am) (?:your|the|an?) (?:\w{1,14} )?", either("creator developer admin~8 owner engineer programmer"),
        r"\b|\bi (?:am|have been) (?:fully )?authori[sz]ed\b|\bpassed the (?:first|\w{1,6}) test\b",
    ),
    phrase(
        "letters_apart",
        "e t n s r h l o .- -.",
        r"(?:^| )(?:\w(?: {1,3}\w){6}(?!\w)|[.-]{0,5}(?:\.-|-\.)[.-]{0,5}(?: {1,3}[.-]{1,6}){8})",
    ),
    phrase(
        "by_own_knowledge",
        "own not disregarding",
        r"\b(?:by|from|use) your own knowledge\b|\bnot (?:by|from|with) the (?:articles?|documents?|context)\b|",
        r"\bdisregarding the (?:articles?|documents?|context)\b",
    ),
    phrase(
        "exfiltrate",
        "![ send forward upload post transmit exfiltrate append",
        r"!\[[^\]\n]{0,60}\]\([^)\n]{0,120}[{<?]|\b(?:send|forward|upload|post|transmit|exfiltrate|append) ",
        r"(?:[\w']{1,14} ){0,6}?(?:to|at) (?:https?:|www\.|[\w.+-]{1,30}@|the attacker)",
    ),
)  # fmt: skip

# What somebody may want to hide behind digits, blanks or a cipher.
VOCABULARY: Final = vocabulary(
    "ignore ignores ignoring disregard forget override bypass previous prior above earlier instruction instructions "
    "rules guidelines prompt prompts system reveal repeat print secret password jailbreak developer unrestricted "
    "unfiltered uncensored restrictions everything pretend assistant hidden initial original commands following "
    "ignoriere vergiss anweisungen vorherigen alles"
)


class InjectionDetector(LinearDetector):
    """Finds prompt injections and jailbreaks; without a model of your own, with the one that ships."""

    __slots__ = ()

    def __init__(self, model: LinearModel | None = None) -> None:
        super().__init__(model=model or packaged(Concern.INJECTION), patterns=PATTERNS, vocabulary=VOCABULARY)

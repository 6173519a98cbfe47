"""`local/extractive`: a chat expert that answers with sentences of the text it is given.

No model and no download: sentences and keywords are ranked by TextRank (the `summa` library), tool arguments and JSON
fields are filled from the text by the schema's names and types. It never invents a sentence and it can't judge one:
don't let it guard, grade or decide.
"""

from crew_moe.local_gate.extractive.expert import LABEL, reply
from crew_moe.local_gate.extractive.ranking import require_summa
from crew_moe.local_gate.extractive.tokens import call_tokens, estimate_tokens, input_tokens

__all__ = ["LABEL", "call_tokens", "estimate_tokens", "input_tokens", "reply", "require_summa"]

"""Queries as people write them, by the expert that is right for them; none of them was looked at in writing lessons."""

from __future__ import annotations

from typing import Final

BYT5: Final = (
    "uniq -c | sort -rn | head",
    "why does 'café' == 'café' give False in python",
    "Turn MyVariableName into kebab-case",
    r"sed -i 's/\r$//' deploy.sh  <- explain",
    "rustc: error[E0499]: cannot borrow `*self` as mutable more than once at a time",
    "Is GB29 NWBK 6016 1331 9268 19 a well-formed IBAN?",
    "console.log([1,2,3].map(parseInt))",
    "What is 0b1101_0010 in hex?",
    '{"id":1,"tags":["a","b"] -- where is the missing bracket?',
    "count the vowels in 'onomatopoeia'",
    "Warum steht da Ã¤ statt ä?",
    "cron: */15 2-4 * * 1-5",
    "ΑΒΓ vs ABC: same letters?",
    'Exception in thread "main" java.lang.StackOverflowError',
)
EXTRACTIVE: Final = (
    "Can I freeze cooked rice?",
    "what should i bring to a housewarming party",
    "How did the Romans build such straight roads?",
    "My landlord wants to raise the rent by a quarter. Is he allowed to do that, and how should I answer?",
    "Give me arguments for and against a four day week.",
    "I'm nervous about flying. Any advice?",
    "Summarise for me: The council met twice, once about parking and once about the swimming pool. The pool stays open "
    "until October, parking fees rise in January, and nobody spoke about the bridge.",
    "Pourquoi la mer est-elle salée ?",
    "Which of the Brontë sisters wrote Jane Eyre?",
    "How is a neural network trained?",
    "Should we hire a second accountant this year or wait until the new software is in place?",
    "Wann ist die beste Zeit, um Rosen zu schneiden?",
    "Explain the rules of cricket to an American.",
    "What's the weather usually like in Dublin in March?",
    "good morning! how are you today?",
)

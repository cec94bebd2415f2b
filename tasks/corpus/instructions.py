"""Text -> the first passage in it that addresses a language model instead of a reader.

Patterns find what attacks have in common: overriding what was said before, naming the model, its
prompt or its answer, and marks of chat templates. They are a tripwire and not a defence: an order
that reads like any sentence ("What is the capital of Brazil?") is not found.
"""

import re

_BEFORE = r"(?:previous|prior|above|preceding|earlier|foregoing|former|original|initial|existing)"
_ORDERS = (
    r"(?:instructions?|prompts?|directions?|guidelines|commands?|orders|rules|context|requests?"
    r"|tasks?|messages?|inputs?)"
)
_MODEL = (
    r"(?:a\.?i\.?(?: (?:model|assistant|agent|system))?|(?:large )?language model|llm|chat ?bot"
    r"|chatgpt|gpt-?\d\w*|copilot|(?:virtual|digital) assistant)"
)
_ANSWER = r"(?:answers?|responses?|repl(?:y|ies)|outputs?|summar(?:y|ies)|completions?)"
_CHANGE = (
    r"(?:please )?(?:add|adjust|alter|append|augment|begin|change|conclude|convert|embed|end"
    r"|enhance|finish|include|incorporate|infuse|insert|integrate|merge|misspell|modify|prepend"
    r"|remove|render|replace|rewrite|scramble|start|substitute|swap|transform|translate|use|write)"
)

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        # Overriding what was said before.
        (
            rf"\b(?:ignore|disregard|forget|override|bypass|discard|do not follow|don't follow)\b"
            rf"[^.!?\n]{{0,40}}\b(?:{_BEFORE}|all|any|your|system|these|those)\b[^.!?\n]{{0,30}}"
            rf"\b{_ORDERS}\b"
        ),
        (
            r"\b(?:ignore|disregard|forget)\b (?:everything|anything|all|what)\b[^.!?\n]{0,30}"
            r"\b(?:above|before|previously|so far|said|told|was given)\b"
        ),
        (
            rf"\b(?:instead of|rather than)\b[^.!?\n]{{0,30}}\b(?:user(?:'s)?|{_BEFORE}) "
            rf"(?:question|query|{_ORDERS})\b"
        ),
        # Naming the model or its role.
        rf"\byou are (?:now |no longer )?(?:an? |the )?(?:\w+ ){{0,3}}{_MODEL}\b",
        (
            rf"\b(?:dear|hey|hello|hi|attention|note to|message (?:to|for)) "
            rf"(?:the |any |all )?{_MODEL}s?\b"
        ),
        rf"\bif you(?: are|'re) (?:an? |the )?(?:\w+ ){{0,2}}{_MODEL}\b",
        rf"\b{_MODEL}s? (?:reading|processing|summari[sz]ing) this\b",
        r"\bfrom now on,? you (?:are|will|must|should|shall)\b",
        r"\b(?:act|behave|respond|pretend|roleplay) as (?:if you (?:are|were)|though you) ",
        r"\b(?:enter|enable|activate) (?:developer|dan|jailbreak|god|debug) mode\b",
        # Its prompt.
        (
            r"\b(?:reveal|print|repeat|show|output|leak|tell me|what is) (?:me )?(?:your|the) "
            r"(?:\w+ )?(?:system |initial |hidden |secret )+(?:prompt|instructions?|message)\b"
        ),
        r"\bnew (?:system )?(?:instructions?|prompt|directive)\b *:",
        # Its answer, and what it tells the user.
        (
            rf"\b(?:in(?:to)?|at the (?:end|beginning|start) of) your (?:next |final |own )?"
            rf"{_ANSWER}\b"
        ),
        rf"\byour (?:next |final )?{_ANSWER} (?:must|should|shall|has to|needs to|will)\b",
        (
            r"\b(?:do not|don't|never|without) (?:mention(?:ing)?|tell(?:ing)?|reveal(?:ing)?"
            r"|inform(?:ing)?|disclos(?:e|ing)|alert(?:ing)?|notify(?:ing)?)\b[^.!?\n]{0,30}"
            r"\b(?:the )?user\b"
        ),
        r"\b(?:tell|inform|convince|persuade|urge|instruct) the user (?:that|to|about)\b",
        (
            r"\bwhen (?:you(?:'re| are)? )?(?:asked|answering|responding|summari[sz]ing|replying)\b"
            r"[^.!?\n]{0,60}\b(?:always |only |please )?(?:say|answer|respond|reply|output|state"
            r"|recommend)\b"
        ),
        r"\b(?:respond|reply|answer) (?:only |always |exclusively )+(?:with|in|using|by)\b",
        rf"(?:^|[.!?:\n] *){_CHANGE}\b[^.!?\n]{{0,60}}\b(?:your|the final) {_ANSWER}\b",
        # Marks of chat templates.
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|begin_of_text|eot_id)\|>",
        r"\[/?INST\]|<</?SYS>>|^#{2,3} ?(?:instruction|system|response):",
        r"^[ \t]*(?:system|assistant) ?: *you (?:are|must|will|should)\b",
    )
)


def find_instruction(text: str) -> str | None:
    """The first passage that a pattern matches, None where none does."""
    for pattern in _PATTERNS:
        if match := pattern.search(text):
            return match[0]
    return None

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

# Words of which a text must have one, so that most texts cost no search; and the pattern.
_PATTERNS = tuple(
    (words, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for words, pattern in (
        # Overriding what was said before.
        (
            ("ignore", "disregard", "forget", "override", "bypass", "discard", "follow"),
            (
                r"\b(?:ignore|disregard|forget|override|bypass|discard|do not follow"
                r"|don't follow)\b"
                rf"[^.!?\n]{{0,40}}\b(?:{_BEFORE}|all|any|your|system|these|those)\b[^.!?\n]{{0,30}}"
                rf"\b{_ORDERS}\b"
            ),
        ),
        (
            ("ignore", "disregard", "forget"),
            (
                r"\b(?:ignore|disregard|forget)\b (?:everything|anything|all|what)\b[^.!?\n]{0,30}"
                r"\b(?:above|before|previously|so far|said|told|was given)\b"
            ),
        ),
        (
            ("instead of", "rather than"),
            (
                rf"\b(?:instead of|rather than)\b[^.!?\n]{{0,30}}\b(?:user(?:'s)?|{_BEFORE}) "
                rf"(?:question|query|{_ORDERS})\b"
            ),
        ),
        # Naming the model or its role.
        (("you are",), rf"\byou are (?:now |no longer )?(?:an? |the )?(?:\w+ ){{0,3}}{_MODEL}\b"),
        (
            (
                "dear ",
                "hey ",
                "hello ",
                "hi ",
                "attention ",
                "note to ",
                "message to ",
                "message for ",
            ),
            (
                rf"\b(?:dear|hey|hello|hi|attention|note to|message (?:to|for)) "
                rf"(?:the |any |all )?{_MODEL}s?\b"
            ),
        ),
        (("if you",), rf"\bif you(?: are|'re) (?:an? |the )?(?:\w+ ){{0,2}}{_MODEL}\b"),
        (
            ("reading this", "processing this", "summari"),
            rf"\b{_MODEL}s? (?:reading|processing|summari[sz]ing) this\b",
        ),
        (("from now on",), r"\bfrom now on,? you (?:are|will|must|should|shall)\b"),
        (
            (" as if you", " as though you"),
            r"\b(?:act|behave|respond|pretend|roleplay) as (?:if you (?:are|were)|though you) ",
        ),
        ((" mode",), r"\b(?:enter|enable|activate) (?:developer|dan|jailbreak|god|debug) mode\b"),
        # Its prompt.
        (
            ("prompt", "instruction", "message"),
            (
                r"\b(?:reveal|print|repeat|show|output|leak|tell me|what is) (?:me )?(?:your|the) "
                r"(?:\w+ )?(?:system |initial |hidden |secret )+(?:prompt|instructions?|message)\b"
            ),
        ),
        (("new ",), r"\bnew (?:system )?(?:instructions?|prompt|directive)\b *:"),
        # Its answer, and what it tells the user.
        (
            (" your ",),
            (
                rf"\b(?:in(?:to)?|at the (?:end|beginning|start) of) your (?:next |final |own )?"
                rf"{_ANSWER}\b"
            ),
        ),
        (
            ("your ",),
            rf"\byour (?:next |final )?{_ANSWER} (?:must|should|shall|has to|needs to|will)\b",
        ),
        (
            ("user",),
            (
                r"\b(?:do not|don't|never|without) (?:mention(?:ing)?|tell(?:ing)?|reveal(?:ing)?"
                r"|inform(?:ing)?|disclos(?:e|ing)|alert(?:ing)?|notify(?:ing)?)\b[^.!?\n]{0,30}"
                r"\b(?:the )?user\b"
            ),
        ),
        (
            ("the user",),
            r"\b(?:tell|inform|convince|persuade|urge|instruct) the user (?:that|to|about)\b",
        ),
        (
            ("when ",),
            (
                r"\bwhen (?:you(?:'re| are)? )?(?:asked|answering|responding|summari[sz]ing"
                r"|replying)\b[^.!?\n]{0,60}\b(?:always |only |please )?(?:say|answer|respond"
                r"|reply|output|state|recommend)\b"
            ),
        ),
        (
            ("respond ", "reply ", "answer "),
            r"\b(?:respond|reply|answer) (?:only |always |exclusively )+(?:with|in|using|by)\b",
        ),
        (
            ("your ", "the final "),
            rf"(?:^|[.!?:\n] *){_CHANGE}\b[^.!?\n]{{0,60}}\b(?:your|the final) {_ANSWER}\b",
        ),
        # Marks of chat templates.
        (
            ("<|",),
            r"<\|(?:im_start|im_end|system|user|assistant|endoftext|begin_of_text|eot_id)\|>",
        ),
        (
            ("inst]", "<sys>>", "</sys>>", "##"),
            r"\[/?INST\]|<</?SYS>>|^#{2,3} ?(?:instruction|system|response):",
        ),
        (
            ("system", "assistant"),
            r"^[ \t]*(?:system|assistant) ?: *you (?:are|must|will|should)\b",
        ),
    )
)


def find_instruction(text: str) -> str | None:
    """The first passage that a pattern matches, None where none does."""
    # Sentences go on over line ends; a mark of a template begins a line.
    paragraphs = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
    lowered = paragraphs.lower()
    for words, pattern in _PATTERNS:
        if not any(word in lowered for word in words):
            continue
        if match := pattern.search(paragraphs) or pattern.search(text):
            return match[0]
    return None

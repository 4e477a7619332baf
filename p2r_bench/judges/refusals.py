"""Patterns of words with which a reply retracts or doubts an answer: "B: wrong", "isn't 3", "if it were blue"."""

from __future__ import annotations

import re

from p2r_bench.judges.tokens import LETTER_OR_DIGIT as _L

_WRONG = (
    r"(?:wrong|incorrect|false|untrue|impossible|unlikely|invalid|excluded|eliminated|ruled\sout|"
    r"out|no|nope|never|not(?:\s(?:it|this|that|so|true|correct|right|possible|valid|likely))?|"
    r"not\sthe\s(?:(?:correct|right|best)\s)?(?:answer|option|choice|one)|"
    r"falsch|nein|faux|non|falso|falsa|incorrecto|incorrecta|errado|errada|sbagliato|sbagliata|"
    rf"неверно|нет)(?!{_L})"
    r"|错误|錯誤|错的?|錯的?|不对|不對|不是|不正确|不正確|間違い|不正解|違います|違う|틀림|틀렸습니다|오답|아님"
)
_LINKS = (
    r"(?:(?:this|that|it|which|option|is|are|was|were|be|can|would|it's|that's|clearly|definitely|"
    r"obviously|certainly|also|probably)\s){0,4}"
)
_ENDS = r"(?=[^\S\n]*(?:[^\w\s'/\\({\[]|\n|\Z))"
REFUSED = re.compile(
    rf"[^\w\n?]{{0,12}}(?:{_LINKS}(?:{_WRONG}){_ENDS}|[✗✘❌✖🚫])",
    re.IGNORECASE,
)
"""May follow an answer that the reply refuses: after punctuation a refusing word, and no more."""
_BE = r"(?:is|are|was|were|be|seems|looks)"
DENIED = re.compile(
    rf"\s(?:{_BE}\s(?:[a-z]+ly\s)?(?:{_WRONG}|not\b|never\b|too\s)"
    r"|(?:is|are|was|were|ca|could|wo|would|does|do|did)n't\b|cannot\b"
    r"|(?:can|could|may|must|would|should|will|does|do|did)\s(?:not|never|be\s(?:ruled|excluded))\b)"
    r"|(?:\s(?!(?:and|but|so|because|since|that|which|who)\b)[\w-]+){1,2}?\s(?:"
    rf"{_BE}\s(?:[a-z]+ly\s)?(?:{_WRONG}){_ENDS}"
    r"|(?:cannot|can't|can\snot)\sbe\s(?:right|correct|true)\b|(?:can|could|must)\sbe\s(?:ruled|excluded)\b)"
    r"|\s?(?:不对|不對|不是|不正确|不正確|是错|是錯|では(?:な|あり)|じゃな|が違|[이가은는]?\s?아니|[은는]\s?틀)",
    re.IGNORECASE,
)
"""Follows an answer that is denied: "3 is wrong", "3 dogs cannot be right"."""
QUESTIONED = re.compile(r"[^.!?。！\n]{0,200}(?:\?|(?:吗|嗎|か)[^\w\n]{0,5}(?:\n|\Z))")
"""Follows an answer whose sentence is a question."""
NEGATED = re.compile(
    r"(?:(?<![^\W_])(?:not|never|neither|nor|cannot|hardly|without|except|than|instead|wrong|incorrect|"
    r"doubt|if|unless|whether|nicht|kein|keine|pas|não|не|no\s(?:es|son|hay)|non\s(?:è|sono))|n't)"
    r"(?:\s(?!but\b|so\b|and\b)[\w'-]+){0,3}[\s\-$({\[]*\Z"
    r"|(?:不是|没有|沒有|并非|並非|而非|不)\s?\Z",
    re.IGNORECASE,
)
"""Stands before an answer that is negated, with up to three words between: "isn't", "never", "not exactly"."""
CONDITION = re.compile(
    r"(?<![^\W_])(?:if|unless|suppose|supposing|assume|assuming|imagine|provided|hypothetically|in\scase|wenn|falls|"
    r"если)(?![^\W_])(?!\s(?:you|we|i|one)(?![^\W_]))"
    r"|\A\W*(?:were|had|should|si|se)\s|如果|假如|假设|假設|もし|만약",
    re.IGNORECASE,
)
"""Makes a sentence conditional. "If you look closely" is an invitation, not a condition."""
CONSEQUENCE = re.compile(
    r"(?<![^\W_])(?:would|then|in\sthat\scase|dann|alors|entonces|тогда)(?![^\W_])|那么|那麼|なら|그러면",
    re.IGNORECASE,
)
"""Makes a sentence the consequence of a condition in the one before: "Then the answer would be B"."""

"""Tables of the scorer `strict`: phrases that declare an option, by language.

Words match in any case. The rows are: English; Chinese, Japanese and Korean; other European languages.
"""

from __future__ import annotations

import re

from p2r_bench.judges.tokens import IDEOGRAPHS
from p2r_bench.judges.tokens import LETTER_OR_DIGIT as _L


def _any(*rows: str) -> str:
    """Return a pattern for one of the words in the rows, where "_" stands for white space."""
    words = sorted(" ".join(rows).split(), key=len, reverse=True)
    spaced = (word.replace("_", r"\s") for word in words)
    ends = (w if re.match(f"[{IDEOGRAPHS}]", w) else rf"{w}(?!{_L})" for w in spaced)
    return f"(?:{'|'.join(ends)})"


_NOUN = _any(
    "answer ans option choice solution guess pick letter response",
    "答案 选项 選項 正解 正答 解答 回答 答え 答 選択肢 정답 답변 답",
    "antwort lösung réponse respuesta solución resposta risposta ответ",
)
_IS = _any(
    "is was would_be should_be must_be will_be has_to_be",
    "应该是 應該是 应为 應為 应是 應是 是 为 為 爲 は が 은 는",
    "ist lautet est es é è",
)
_VERB = _any(
    "choose chose select selected pick picked go_with going_with opt_for i_would_say i'd_say",
    "选择 選擇 选(?![项择]) 選(?![項擇択ば])",
)
_AGREED = _any("correcta correcte correta certa corretta final finale definitiva")
ANNOUNCED = re.compile(
    rf"\\?f?boxed\s?\{{|(?<![A-Za-z\d])(?:(?:{_NOUN}[\s_]?){{1,3}}(?:{_AGREED}\s?)?"
    r"(?:\s?(?:to|for)\s[^.,:;!?\n]{1,40}?(?=[\s:]))?"
    rf"\s{{0,9}}(?:{_IS}|[:=|→>\n【】]|[-–—]+>?(?=\s))|{_VERB}"
    r"|(?:therefore|thus|hence|so)[,:]?\s(?:it\sis\s|it's\s)?"
    r"(?=(?:option\s|choice\s)?[(\[]?(?-i:[A-Z])[)\]]?[.!]?[^\S\n]*(?:\n|\Z)))",
    re.IGNORECASE,
)
"""Stands before a declared option: "the answer is", "answer:", `\\boxed{`, "choose"."""
CONFIRMED = re.compile(
    rf"(?<!{_L})[(\[]?([A-Z])(?!{_L})[)\]]?\s{{0,3}}(?:"
    r"is\s(?:(?:the\s)?(?:(?:correct|right|best|final)\s)?(?:answer|option|choice)|correct)\b"
    r"|(?:选项|選項)?(?:[是为為](?:正确|正確)?(?:答案|选项|選項)|是?(?:正确|正確)的?)"
    r"|が(?:正解|正しい|答え)|を選(?:びます|択します)|[이가]\s?정답|[를을]\s?선택(?:합니다|하겠습니다))"
)
"""A declaration with the letter in front: "B is the correct answer"."""
FILLERS = re.compile(
    _any(
        "the option choice letter answer is it's it i think believe would be most likely probably "
        "clearly definitely therefore thus indeed final correct",
        "应该是 應該是 应该 應該 是 为 為 选项 選項 选择 選擇 选 選択肢の 選択肢 選",
        "la die der opción letra",
    ),
    re.IGNORECASE,
)
"""May stand between a declaration and its option: "the answer is most likely option B"."""

CLAUSE = re.compile(
    r"[.,;:!?(){}…。、！？\n—–]|"
    + _any("so but and thus therefore hence then means donc daher", "所以 因此 故 따라서 그래서"),
    re.IGNORECASE,
)
"""Matches the beginning of a clause."""
LEADS = re.compile(
    r"(?>[\s>|•*#_'【-]|"
    + _any(
        "the my our your this that final correct right best most likely single only now actually "
        "accurate appropriate suitable plausible clearly obviously here here's seems appears is "
        "finally ok okay well i we i'd i'll i'm let's let am it think believe guess say conclude "
        "would will can confident certain sure going to go which suggests indicates confirms "
        "implies follows shows option choice answer letter",
        "综上所述 綜上所述 综上 綜上 我 认为 認為 觉得 覺得 应该 應該 应 應 会 會 本题 本題 最终 最終 正确 正確 最佳 的 选项 選項 答案 選択肢 私は "
        "よって したがって 従って つまり 最終的な 最も適切な 正しい 私の 그러므로 최종 올바른 옳은 제 저는 나는",
        "die richtige korrekte meine also la bonne ma correcta mi a minha correta portanto giusta "
        "corretta mia quindi правильный верный мой итак значит",
    )
    + r")*+|\s*"
    + _any(
        "based from in on given since as because looking at according after considering",
        "根据 根據 由于 由於 由 从 從",
    )
    + r".*",
    re.IGNORECASE | re.DOTALL,
)
"""May stand in a clause before a declaration: these words, or anything after "based on", "since", ….

Any other clause is no declaration: "I doubt that the answer is B"."""

_REASON = _any(
    "because since as for due given based which while whereas not it this there the so",
    "因为 因為 由于 由於 选项 選項 项 項 です(?!か) である でしょう だ(?=[。.\\n]|\\Z|と思います) "
    "입니다 이다 예요 이에요 번 라고_생각합니다",
    "weil da denn nicht parce porque perché потому",
)
_PLACE = _any("and in on at from with where rather instead")
_NO_QUESTION = r"(?![^\S\n]*[)\]}]*[^\S\n]*(?:\?|吗|嗎|か))"
_STOP = r"\Z|[\n;!✅✓✔☑)\]}(>|=…。、」』】〉》→—]|[.](?!\d|\w(?!\w))|:(?!\d)|[-–](?!\w)"
_LETTER_STOP = (
    rf"(?![.][^\S\n]*(?:(?!{_REASON})(?-i:[a-zß-öø-ÿа-я])|[A-Za-z][.)]|[A-Za-z]\s*\Z))(?:{_STOP})"
)
LETTER_ENDS = re.compile(
    rf"{_NO_QUESTION}[^\S\n]*(?:[)\]}}]++[^\S\n]*+(?:(?!(?-i:[a-z]))|{_REASON}|{_PLACE})"
    r"|(?<![(\[].)[)\]]"  # "b) …"
    rf"|(?![)\]}}])(?:{_LETTER_STOP}|,|{_REASON}|{_PLACE}))",
    re.IGNORECASE,
)
"""May follow a named letter: the end, punctuation, a reason. Not initials or a species: "A. M.", "C. elegans"."""
TEXT_ENDS = re.compile(rf"{_NO_QUESTION}[^\S\n]*(?:{_STOP}|,?\s?{_REASON})", re.IGNORECASE)
"""May follow a named text. A comma alone may not: "red, white and blue" is not "red"."""
LABEL_ENDS = re.compile(
    rf"(?!(?<=[(\[].)[)\]]\s+[a-z])[^\S\n]*(?:{_LETTER_STOP}|,)|[)\]\s]*(?:because|since|rather\sthan|instead\sof|因为|因為)"
)
"""May follow a letter that begins a reply."""
LABEL_BEFORE_TEXT = re.compile(r"(?<![(\[].)[)\]]\s+(?-i:[a-z])", re.DOTALL)
"""Follows a letter that may be a label of some other text: "C) elegans"."""
CONTRAST = re.compile(
    r"(?:(?:and|but)\s)?(?:not|rather\sthan|instead\sof)\s"
    r"(?:(the\sothers?|any\sother)(?![^\W_])|(?:option\s)?[(\[]?)",
    re.IGNORECASE,
)
"""Stands between an option and another one that the reply refuses: "B, not A"."""
_CLOSED = r"[^\S\n]{0,9}[)\]}]{0,9}[^\S\n]{0,9}"
OFFERED = re.compile(
    rf"{_CLOSED},?\s?(?:[/&+]|{_any('or oder ou или', '或者 或 または か、 또는 혹은')}|"
    r"(?:and|und|et|和|及|与|與|と|및|와|과)\s{0,9}(?:option\s)?[(\[]{0,3}[A-Z](?![A-Za-z\d]))"
)
"""Offers an alternative to the option before it."""
LISTED = re.compile(
    rf"{_CLOSED}(?:[,、;·|]|and|und|et)*[^\S\n]{{0,9}}(?:[(\[{{](?=[A-Za-z][)\]}}]))?[^\S\n]?"
)
"""May stand between two options of a list."""

OWN_LETTER = re.compile(r"[^\S\n]{0,3}[(\[]([A-Za-z])[)\]]")
"""May follow an option's text: "blue (B)"."""
COMPARED = re.compile(r"[<>≤≥±]\s?-?\Z")
"""Stands before a number that is a bound: ">4"."""
CLEFT = re.compile(r",?\s(?:that|which|who)(?![^\W_])", re.IGNORECASE)
"""Follows an option about which the sentence says more: "It is B that I would rule out"."""
EXPLAINS = re.compile(
    r"[\s,;(.]{0,4}(?:(?:because|since|as|while|whereas|unlike|not)(?![^\W_])|因为|因為)[^.;\n]*",
    re.IGNORECASE,
)
"""A reason after an option. Letters in the reason do not name options."""

CORRECTION = re.compile(
    r"[.!?\n…—–-]\s*(?:(?:oh|hmm+|but)[,.…]*\s)?(?:no|wait|actually|sorry|correction|scratch\sthat|"
    r"on\s(?:closer|second)\s\w+|let\sme\s(?:re|double|look|check)[\w-]*)(?![^\W_])",
    re.IGNORECASE,
)
"""Begins a sentence that takes an answer back."""
OPENING = re.compile(r"(?:[\s(\[{<>|:=「『【〈《•#✅✔☑👉→➡…]|-(?![\w.])){0,60}")
CHOSEN = re.compile(
    _any("option choice answer letter", "选项 選項 選択肢") + r"[\s(\[]{0,3}", re.IGNORECASE
)
IT_IS = re.compile(
    r"(?:(?:i\s(?:think|believe)|so|thus|therefore),?\s)?"
    + _any("it's it_is this_is it_must_be", "应该是 應該是 是", "es_ist c'est"),
    re.IGNORECASE,
)
NOTHING = re.compile(r"(?:です|だ|である|입니다|이다|예요|이에요)?[\W_]*\Z")
LOOKS_NAMED = re.compile(rf"(?<!{_L})(?![AI]\s[a-z]{{2}})[A-Z]{{1,2}}\d?(?!{_L})")
"""A letter, or a code such as "AB" or "A1", in the rest of a sentence."""
JOINED = re.compile(r"\}[^\w\n]{0,5}(?:and|or)?[^\w\n]{0,5}\Z")
"""Stands between two boxes that share one answer: `\\boxed{A} or \\boxed{B}`."""

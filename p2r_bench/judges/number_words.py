"""English number words: "twenty-one", "two hundred and five", "three million"."""

from __future__ import annotations

import re

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {
    **{word: value for value, word in enumerate(_SMALL)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
OTHER_SCALES = re.compile(
    r"\s?(?:(?:"
    r"hundreds?|thousands?|[a-z]{1,7}illions?|lakhs?|lacs?|crores?|cr|myriads?|googols?|kilo|mega|giga|kk|"
    r"dozens?|score|gross|dutzend\w*|schock|douzaines?|docenas?|dozzin[ae]|dúzias?|duzias?|dozijn\w*|duss?in|tuc[et]t?\w*|"
    r"tuzin\w*|düzine|lusin|дюжин\w*|"
    r"(?:third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|millionth)s?|halves|"
    r"squared|cubed|plus|or\sso|at\s(?:most|least)|ish|"
    r"thou|thsd|mn|mln|mill|mio|bn|bln|bil|mrd|mlrd|mld|tn|trn|tril|tsd|tys|ribu|juta|triliun|bin|"
    r"mil|mila|mille|mili(?:on|ard|ar)\w*|milli(?:on|ard)\w*|mill[óo]n\w*|milh(?:ão|ao|õe|oe)\w*|"
    r"mil[jy](?:o|a)\w*|billi?(?:on|ard)\w*|bill[óo]n\w*|bilh(?:ão|ao|õe|oe)\w*|bil[jy]o\w*|"
    r"trilli?on\w*|hundert\w*|tausend\w*|honderd|duizend\w*|tusen\w*|cientos|cento|"
    r"nghìn|ngàn|triệu|tỷ|тыс|тысяч\w*|млн|миллион\w*|млрд|миллиард\w*|трлн|"
    r"tysi\w*|हज़ार|लाख|करोड़|ألف|آلاف|مليون|ملايين|مليار|دزينة)(?![^\W_])"
    r"|(?-i:k)(?![A-Za-z\d])|[十百千拾佰仟万萬만亿億억兆조京경십백천打]|ダース|다스|타스|พัน|หมื่น|แสน|ล้าน)",
    re.IGNORECASE,
)
"""A word that changes the number before it: a scale, a dozen or a part, in any language listed here."""
_WORD = "(?:" + "|".join(sorted([*_VALUES, *SCALES], key=len, reverse=True)) + r")(?![^\W_])"
_JOINED = rf"(?:(?:(?:[\s-]|,\s){{1,3}})(?:and\s)?{_WORD}){{0,20}}"
NUMBER_WORDS = re.compile(
    rf"(?<![^\W_])(?:an?\s(?={'|'.join(SCALES)}))?{_WORD}{_JOINED}", re.IGNORECASE
)
"""A run of number words."""


def value_of(run: str) -> int | None:
    """Return the value of a run that NUMBER_WORDS found, or None if it is not one number.

    "Two three" and "nineteen eighty-four" are not one number.
    """
    total, current, fresh = 0, 0, True
    for word in re.findall(r"[a-z]+", run.casefold()):
        if word in ("a", "an"):
            current, fresh = 1, False
        elif word == "hundred":
            if not 0 < current < 100:
                return None
            current, fresh = current * 100, True
        elif word in SCALES:
            if current == 0 or (total and total % (SCALES[word] * 1000)):
                return None
            total, current, fresh = total + current * SCALES[word], 0, True
        elif word in _VALUES:
            value = _VALUES[word]
            after_tens = current % 100 in range(20, 100, 10) and 0 < value < 10
            if not (fresh or after_tens):
                return None
            current, fresh = current + value, False
    return total + current

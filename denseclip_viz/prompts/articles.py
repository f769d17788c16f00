"""English articles and plurals: small rules and lists of exceptions, made for the names of things in images.

A general library for it was tried (inflect 7.6): it says "a SUV", "a 8-ball" and "many stairss", and loads for seconds.
"""

import re
import unicodedata
from collections.abc import Iterable

_LETTERS_WITH_AN = frozenset("aefhilmnorsx")  # as the alphabet says them: an F, an X, but a U
_SPOKEN = frozenset("gif jar lan map pin ram rom sim zip".split())  # initials that are words by now
_SILENT_H = ("hour", "honest", "honor", "honour", "heir")
_CONSONANT = ("eu", "ewe", "once", "ouija", "ubiq", "ufo", "uk", "uni", "ura", "uri", "use", "usu", "ut")
_VOWEL = ("unid", "unim", "unin", "unir", "utmost", "utter")  # of those that begin alike

_DETERMINERS = "an?|the|my|your|his|her|its|our|their|this|that|these|those|one|some|many|several|few|two|three|both"
_OWN = re.compile(rf"(?:{_DETERMINERS}|four|five|[0-9]+)\s+(?=\S)", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the)\s+(?=\S)", re.IGNORECASE)
_BEFORE_PLACE = re.compile(rf"\b({_DETERMINERS})(\s+)$", re.IGNORECASE)
_NO_ADJECTIVE = (  # what begins another part of the sentence, with an article of its own
    r"of|with|without|in|on|at|for|from|and|or|is|are|was|next to|close to|into|onto|by|near|like|as|than"
    r"|over|under|above|below|behind|beside|between|inside|outside|around|against|through|beyond|before|after"
    r"|has|have|shows|holds|\w+ing"
)
_BEFORE_ADJECTIVE = re.compile(  # "the plastic {}", not "a photo of {}" nor "a photo showing {}"
    rf"\b(?:{_DETERMINERS})\s+(?:(?!(?:{_NO_ADJECTIVE})\b)[\w-]+\s+){{1,3}}$", re.IGNORECASE
)
_IN_TEMPLATE = re.compile(r"\b(an?)(\s+)(?=(\w\S*))", re.IGNORECASE)
_MANY = re.compile(r"\b(?:many|several|few|two|three|four|five|both|these|those|some|lots of)\s+$", re.IGNORECASE)
_RELATION = re.compile(r"\s(?:of|with|without|in|on|at|for|from|under|near|behind|beside|and)\s", re.IGNORECASE)

_MASS = frozenset(
    "air apparel asphalt bread broccoli cardboard clothing concrete dirt earth fog food furniture grass gravel ground"
    " ice land lightning luggage moss mud rain rice sand seaweed smoke snow soil straw sunlight traffic underwear"
    " vegetation water wood".split()
)
_UNCHANGED = frozenset("aircraft cattle deer fish moose salmon series sheep species spacecraft swine trout".split())
_IRREGULAR = {
    "calf": "calves", "child": "children", "echo": "echoes", "foot": "feet", "goose": "geese", "half": "halves",
    "hero": "heroes", "knife": "knives", "leaf": "leaves", "life": "lives", "loaf": "loaves", "man": "men",
    "mouse": "mice", "ox": "oxen", "person": "people", "potato": "potatoes", "quiz": "quizzes", "scarf": "scarves",
    "shelf": "shelves", "thief": "thieves", "tomato": "tomatoes", "tooth": "teeth", "wife": "wives", "wolf": "wolves",
    "woman": "women",
}  # fmt: skip
_COMPOUNDED = ("child", "foot", "knife", "leaf", "life", "person", "shelf", "tooth", "wife", "wolf")  # "bookshelf"
_HARD_CH = ("stomach", "monarch", "epoch")
_PLURALS = frozenset(_IRREGULAR.values()) | frozenset("bikinis emus kiwis menus skis taxis".split())
_SINGULARS = _UNCHANGED | frozenset("abdomen atlas canvas christmas gas lens pancreas ramen specimen".split())
_NO_MAN = ("caiman", "german", "human", "ottoman", "roman", "shaman", "talisman")


def fill(template: str, prompt: str, *, articles: bool, plural: bool) -> str:
    """Put a prompt into the one place of a template, with its article and number set right where that is asked for.

    Args:
        template: With one "{}".
        prompt: What is named.
        articles: Fit "a" and "an" to what follows; keep one article where both bring one; leave "a" out before a
            plural and before what is not counted (a list: grass, water, …).
        plural: Put the prompt into the plural where the template asks for it ("many {}", "two {}").

    Example:
        >>> fill("a photo of a {}.", "orange tree", articles=True, plural=False)
        'a photo of an orange tree.'
        >>> fill("a photo of many {}.", "a wine glass", articles=False, plural=True)
        'a photo of many wine glasses.'
        >>> fill("the toy {}.", "a red car", articles=True, plural=False)
        'the toy red car.'
    """
    before, after = template.split("{}")
    if plural and _MANY.search(before):
        prompt = plural_of(_ARTICLE.sub("", prompt))
    if articles:
        before, prompt = _fitted(_repaired(before), prompt)
        after = _repaired(after)
    return before + prompt + after


def two_articles(templates: Iterable[str], prompts: Iterable[str], *, plural: bool) -> tuple[str, str] | None:
    """Find a template and a prompt that both bring an article, when nothing but the plural is set right: "a a car".

    Example:
        >>> two_articles(["a photo of {}.", "the plastic {}."], ["grass", "a car"], plural=False)
        ('the plastic {}.', 'a car')
        >>> two_articles(["many {}"], ["a car"], plural=True) is None
        True
    """
    template = next((template for template in templates if _brings_article(template, plural)), None)
    prompt = next((prompt for prompt in prompts if _ARTICLE.match(prompt)), None) if template else None
    return (template, prompt) if template and prompt else None


def _brings_article(template: str, plural: bool) -> bool:
    before = template.partition("{}")[0]
    led = _BEFORE_PLACE.search(before) or _BEFORE_ADJECTIVE.search(before)
    return bool(led) and not (plural and _MANY.search(before))


def article_of(phrase: str) -> str:
    """Give "a" or "an", by the sound that a phrase begins with.

    Initials are spelled ("an MRI scan") when they have no vowel or are no longer than three letters. A word that is
    on none of the lists goes by its first letter.

    Example:
        >>> [article_of(word) for word in ("orange tree", "hour", "unicorn", "European road", "SUV", "8-ball")]
        ['an', 'an', 'a', 'a', 'an', 'an']
    """
    match = re.search(r"\w+", phrase)
    if match is None:
        return "a"
    word, plain = match[0], _plain(match[0])
    if plain[0].isdigit():
        return _before_number(plain)
    initials = word.isupper() and (len(word) <= 3 or not set(plain) & set("aeiou")) and plain not in _SPOKEN
    if len(word) == 1 or initials:
        return "an" if plain[0] in _LETTERS_WITH_AN else "a"
    if plain == "one" or (plain.startswith(_CONSONANT) and not plain.startswith(_VOWEL)):
        return "a"
    return "an" if plain[0] in "aeiou" or plain.startswith(_SILENT_H) else "a"


def plural_of(phrase: str) -> str:
    """Put the noun that a phrase is about into the plural; what is plural or not counted stays.

    Example:
        >>> [plural_of(text) for text in ("orange tree", "bag of flowers", "bookshelf", "sheep", "stairs", "grass")]
        ['orange trees', 'bags of flowers', 'bookshelves', 'sheep', 'stairs', 'grass']
    """
    start, end = _noun(phrase)
    noun = phrase[start:end]
    return phrase if is_plural(noun) or _uncounted(noun) else phrase[:start] + _plural(noun) + phrase[end:]


def is_plural(phrase: str) -> bool:
    """Say whether the noun that a phrase is about stands in the plural already, by its ending and a list.

    Example:
        >>> is_plural("potted plants"), is_plural("bus"), is_plural("people"), is_plural("wine glass")
        (True, False, True, False)
    """
    start, end = _noun(phrase)
    noun = _plain(phrase[start:end])
    if noun in _SINGULARS:
        return False
    known = noun in _PLURALS or noun.endswith(("men", "children", "people"))
    return known or bool(re.search(r"[^ius']s$", noun))


def _plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).lower()


def _before_number(digits: str) -> str:
    """Hear eight, eighty, eight hundred; eleven and eighteen, also of thousands."""
    number = digits[: len(digits) - len(digits.lstrip("0123456789"))]
    return "an" if number[:1] == "8" or (number[:2] in ("11", "18") and len(number) % 3 == 2) else "a"


def _noun(phrase: str) -> tuple[int, int]:
    """Find the noun: the last word, or the last before "of", "with" and their like."""
    cut = _RELATION.search(phrase)
    part = phrase[: cut.start()] if cut else phrase
    words = list(re.finditer(r"[^\W\d_][\w'’]*", part))
    return words[-1].span() if words else (0, 0)


def _uncounted(noun: str) -> bool:
    return _plain(noun) in _MASS or not noun


def _plural(noun: str) -> str:
    plain = _plain(noun)
    if plain in _UNCHANGED:
        return noun
    if plain in _IRREGULAR:
        return noun[0] + _IRREGULAR[plain][1:]
    for single in _COMPOUNDED:
        if plain.endswith(single):
            return noun[: -len(single)] + _IRREGULAR[single]
    if plain.endswith("man") and not plain.endswith(_NO_MAN):
        return noun[:-2] + "en"
    if re.search(r"[^aeiou]y$", plain):
        return noun[:-1] + "ies"
    hissing = plain.endswith(("s", "x", "z", "ch", "sh")) and not plain.endswith(_HARD_CH)
    return noun + ("es" if hissing else "s")


def _repaired(text: str) -> str:
    """Repair articles: the published sets say "a origami {}." and "a embroidered {}."."""
    return _IN_TEMPLATE.sub(lambda match: _cased(article_of(match[3]), match[1]) + match[2], text)


def _fitted(before: str, prompt: str) -> tuple[str, str]:
    match = _BEFORE_PLACE.search(before)
    if match is None or match[1].lower() not in ("a", "an"):
        led = match or _BEFORE_ADJECTIVE.search(before)
        return before, _ARTICLE.sub("", prompt) if led else prompt
    word, rest = match[1], before[: match.start()]
    start, end = _noun(prompt)
    if _OWN.match(prompt) or is_plural(prompt) or _uncounted(prompt[start:end]):
        return rest, _cased(prompt, word)
    return rest + _cased(article_of(prompt), word) + match[2], prompt


def _cased(text: str, like: str) -> str:
    return text[0].upper() + text[1:] if like[0].isupper() else text

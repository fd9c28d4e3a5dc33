"""From the markup of a Wikipedia article to paragraphs of running prose."""

import html
import re
from collections.abc import Callable

HOLE = "\ufffc"  # stands where something was that the sentence needs and that has no plain form: a formula, an unknown template
PRONUNCIATION = "\ue000"  # stands where a pronunciation was

LANGUAGES = {  # of the templates lang-xx, which print the language's name
    "aln": "Gheg Albanian", "ar": "Arabic", "az": "Azerbaijani", "ber": "Berber", "ca": "Catalan", "fa": "Persian",
    "grc": "Ancient Greek", "grc-gre": "Greek", "la": "Latin", "pa": "Punjabi", "pl": "Polish", "pt": "Portuguese", "ru": "Russian",
    "rus": "Russian", "sq": "Albanian",
}  # fmt: skip
UNITS = {  # of the template convert: code, one of it, several of it
    "acre": ("acre", "acres"), "AU": ("astronomical unit", "astronomical units"), "C": ("°C", "°C"), "C-change": ("°C", "°C"),
    "cm": ("centimetre", "centimetres"), "e6acre": ("million acre", "million acres"), "e6carat": ("million carat", "million carats"),
    "F": ("°F", "°F"), "ft": ("foot", "feet"), "ft/s": ("foot per second", "feet per second"), "g": ("gram", "grams"),
    "Goilbbl": ("billion barrel", "billion barrels"), "ha": ("hectare", "hectares"), "in": ("inch", "inches"),
    "kg": ("kilogram", "kilograms"), "km": ("kilometre", "kilometres"), "km2": ("square kilometre", "square kilometres"),
    "koilbbl/d": ("thousand barrels per day",) * 2, "lb": ("pound", "pounds"), "LT": ("long ton", "long tons"),
    "m": ("metre", "metres"), "m2": ("square metre", "square metres"), "m3": ("cubic metre", "cubic metres"),
    "mi": ("mile", "miles"), "mm": ("millimetre", "millimetres"), "Moilbbl": ("million barrel", "million barrels"),
    "Moilbbl/d": ("million barrels per day",) * 2, "mph": ("mile per hour", "miles per hour"), "MT": ("metric ton", "metric tons"),
    "MUSgal": ("million US gallon", "million US gallons"), "nmi": ("nautical mile", "nautical miles"),
    "oilbbl": ("barrel", "barrels"), "oilbbl/d": ("barrel per day", "barrels per day"),
    "PD/sqmi": ("inhabitant per square mile", "inhabitants per square mile"), "sqmi": ("square mile", "square miles"),
    "Tcuft": ("trillion cubic feet",) * 2, "USgal": ("US gallon", "US gallons"),
}  # fmt: skip
SYMBOLS = {"km2": "km²", "m2": "m²", "sqmi": "sq mi"}
SYMBOLS |= {unit: unit for unit in ("cm", "ft", "ft/s", "g", "ha", "in", "kg", "km", "lb", "m", "mi", "mm", "mph", "nmi")}
RANGES = {"-": "–", "–": "–", "to": " to ", "and": " and ", "and(-)": " and ", "by": " by "}
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"
)  # fmt: skip
SUPERSCRIPTS = str.maketrans("0123456789+-−no", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ°")


def clean(wikitext: str, shortest: int = 200) -> list[str]:
    """The paragraphs of an article: blocks of running prose of at least `shortest` characters, each on one line.

    Links give their visible text. References, tables, images, lists, headings and boxes go. Templates that print something inside a
    sentence (a measure, a foreign word, a date) are written out. A block from which something cannot be written out, such as a
    formula or code, is left out whole, because a sentence with a hole in it is no English; so is one that does not begin and end
    like a sentence.
    """
    text = _tags(_tables(_resolve(_without_hidden(wikitext))))
    text = re.sub(r"\[(?:https?:)?//[^\s\]]*\s*([^\]]*)\]", r"\1", text)  # [http://… visible text]
    paragraphs = [_mend(html.unescape(block)) for block in _blocks(text, shortest)]
    return [paragraph for paragraph in paragraphs if len(paragraph) >= shortest and _is_prose(paragraph)]


def categories(wikitext: str) -> list[str]:
    """The names of the categories that an article is put in, in its own order, without sort keys."""
    names = re.findall(r"\[\[\s*Category\s*:([^\]|]+)", _without_hidden(wikitext), re.IGNORECASE)
    return [" ".join(name.replace("_", " ").split()) for name in names]


def _without_hidden(text: str) -> str:
    """Drop comments, references and blocks that are no prose; spell out the characters that <nowiki> protects."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<nowiki>(.*?)</nowiki>", lambda m: re.sub(r"\W", lambda c: f"&#{ord(c[0])};", m[1]), text, flags=re.S | re.I)
    text = re.sub(r"<ref\b[^<>]*/>|<ref\b.*?</ref\s*>", "", text, flags=re.S | re.I)
    text = re.sub(r"<(math|code|tt)\b.*?</\1>|<source\b[^<>]*\binline\b.*?</source>", HOLE, text, flags=re.S | re.I)
    text = re.sub(r"<(gallery|source|timeline|pre|poem)\b.*?</\1>", "\n\n", text, flags=re.S | re.I)
    return re.sub(r"__[A-Z]+__", "", text)


def _resolve(text: str) -> str:
    """Replace every {{template}} and every [[link]] by what it shows, the innermost first."""
    openers = {"}}": "{{", "]]": "[["}
    stack = [("", [""])]  # for each level what opened it and the pieces of its text so far
    for token in re.split(r"(\{\{|\}\}|\[\[(?!\[)|\]\](?!\](?!\])))", text):  # of [[[ the last two, of ]]] the last two
        if token in openers.values():
            stack.append((token, []))
        elif token in openers and any(opener == openers[token] for opener, _ in stack):
            while stack[-1][0] != openers[token]:  # opened in between and never closed: plain text
                unclosed, pieces = stack.pop()
                stack[-1][1].extend([unclosed, *pieces])
            inner = "".join(stack.pop()[1])
            stack[-1][1].append(_template(inner) if token == "}}" else _link(inner))
        else:
            stack[-1][1].append(token)
    return "".join(opener + "".join(pieces) for opener, pieces in stack)


def _link(inner: str) -> str:
    """What the link [[inner]] shows: the text after its bar, else its target; nothing for files, categories and other languages."""
    target, *rest = inner.split("|")
    if re.match(r"\s*(file|image|media|category)\s*:", target, re.IGNORECASE):
        return ""
    if rest:
        return rest[-1]
    target = re.sub(r"^:?(wikt|wiktionary|s|w|wp|wikipedia|category|template):|^:", "", target, flags=re.IGNORECASE)
    return "" if re.match(r"[a-z]{2,3}(-[a-z-]+)?:\S", target) else target


def _template(inner: str) -> str:
    """What the template {{inner}} shows: text, nothing, or HOLE where that is not known here."""
    name, *parts = inner.split("|")
    name, colon, after_colon = " ".join(name.replace("_", " ").split()).lower().partition(":")
    args, named = [after_colon.strip()] if colon else [], {}
    for part in parts:
        if key := re.match(r"\s*([\w-]+)\s*=", part):
            named[key[1]] = part[key.end() :].strip()
        else:
            args.append(part.strip())
    args += [named[number] for number in "123" if number in named]
    try:
        if name in SHOWN:
            return SHOWN[name](args, named)
        if name.startswith("lang-"):
            return f"{LANGUAGES[name[5:]]}: {args[0]}"
    except (IndexError, KeyError, ValueError):
        return HOLE
    if name.startswith(("ipac-", "ipa-", "respell")):
        return PRONUNCIATION
    silent = name in SILENT or name.endswith(" needed") or name.startswith(("cite ", "citation", "sfn", "refn", "efn", "#tag"))
    return "" if silent or "date" in named else HOLE  # editors' remarks carry a date


SILENT = {
    "rp", "main", "clear", "sic", "who", "which", "when", "clarify", "dubious", "vague", "see also", "by whom", "inflation-fn",
    "qualify evidence", "update after",
}  # fmt: skip


def _superscript(text: str) -> str:
    """Digits and signs as superscript characters, so that 10<sup>6</sup> does not read 106; the ending of 19<sup>th</sup> stays."""
    if re.fullmatch(r"\s*|st|nd|rd|th", text):
        return text.strip()
    return text.translate(SUPERSCRIPTS) if re.fullmatch(r"[\d+\-−no]+", text) else "^" + text


def _number(text: str) -> str:
    """-1300 as −1,300."""
    whole, point, decimals = text.replace(",", "").replace("−", "-").strip().partition(".")
    return f"{int(whole):,}".replace("-", "−") + point + decimals


def _convert(args: list[str], named: dict[str, str]) -> str:
    """{{convert|30|cm|in}} as 30 centimetres: the measure as it was written, without its conversion."""
    if "output" in named.get("disp", ""):
        return HOLE
    if args[1] in RANGES:
        number, unit, rest = _number(args[0]) + RANGES[args[1]] + _number(args[2]), args[3], []
    else:
        number, unit, rest = _number(args[0]), args[1], args[2:]
    one, several = UNITS[unit.removeprefix("°")]
    if named.get("abbr") == "on" and unit in SYMBOLS:
        one = several = SYMBOLS[unit]
    if "on" in (named.get("adj"), named.get("sing")) and "°" not in one:
        text = f"{number}-{one.replace(' ', '-')}"
    else:
        text = f"{number} {one if number == '1' else several}"
    if len(rest) > 1 and rest[1] in UNITS:  # 6 feet 4 inches
        text += f" {_number(rest[0])} {UNITS[rest[1]][1]}"
    return text.replace("metre", "meter") if named.get("sp") == "us" else text


def _as_of(args: list[str], named: dict[str, str]) -> str:
    """{{as of|2013|6|8}} as As of 8 June 2013."""
    year, month, day = [*args, "", ""][:3]
    month = MONTHS[int(month) - 1] if month.isdigit() else month
    return " ".join(word for word in ("as of" if "lc" in named else "As of", day, month, year) if word)


def _chem(args: list[str], named: dict[str, str]) -> str:
    """{{chem|Si|4|4-}} as Si4⁴⁻."""
    return "".join(_superscript(part) if re.fullmatch(r"\d*[+-]", part) else part for part in args)


def _nihongo(args: list[str], named: dict[str, str]) -> str:
    """{{nihongo|"health"|元気|genki}} as "health" (元気, genki)."""
    english, *japanese = args[:3]
    return f"{english} ({', '.join(part for part in japanese if part)})"


def _quotation(args: list[str], named: dict[str, str]) -> str:
    return f"\n\n{named.get('text') or named.get('quote') or args[0]}\n\n"


def _value(args: list[str], named: dict[str, str]) -> str:
    """{{val|6.241|e=18|u=C}} as 6.241 × 10¹⁸ C."""
    power = f" × 10{_superscript(named['e'])}" if "e" in named else ""
    return args[0] + power + (f" {named['u']}" if "u" in named else "")


Shown = Callable[[list[str], dict[str, str]], str]  # from a template's arguments, by position and by name, to what it shows
SHOWN: dict[str, Shown] = {
    **dict.fromkeys(["abbr", "big", "ipa", "keypress", "large", "linktext", "nobold"], lambda a, _: a[0]),
    **dict.fromkeys(["noitalic", "nowrap", "nq", "small", "tooltip", "vanchor"], lambda a, _: a[0]),
    **dict.fromkeys(["ill", "lang", "resize", "rtl-lang", "script", "script/arabic", "transl"], lambda a, _: a[-1]),
    **dict.fromkeys(["nbsp", "space", "spaces", "thinsp"], lambda *_: " "),
    **dict.fromkeys(["snd", "spaced ndash"], lambda *_: " – "),
    **dict.fromkeys(["mdash", "mdashb"], lambda *_: "—"),
    **dict.fromkeys(["angbr", "vr"], lambda a, _: f"⟨{a[0]}⟩"),
    **dict.fromkeys(["blockquote", "bquote", "cquote", "quote"], _quotation),
    **dict.fromkeys(["convert", "cvt"], _convert),
    "ndash": lambda *_: "–",
    "eqm": lambda *_: "⇌",
    "=": lambda *_: "&#61;",  # spelled out, as the apostrophes are, or the markup around it would read it
    "'": lambda *_: "&#39;",
    "'s": lambda *_: "&#39;s",
    "' \"": lambda *_: "&#39;\"",
    '-"': lambda *_: '"',
    "as of": _as_of,
    "bibleref": lambda a, _: f"{a[0]} {a[1]}",
    "chem": _chem,
    "circa": lambda a, _: f"c. {a[0]}",
    "e": lambda a, _: f" × 10{_superscript(a[0])}",
    "formatnum": lambda a, _: _number(a[0]),
    "frac": lambda a, _: f"1/{a[0]}" if len(a) == 1 else f"{a[0]}/{a[1]}",
    "harvtxt": lambda a, _: f"{' and '.join(a[:-1])} ({a[-1]})",
    "hms": lambda a, _: f"HMS {a[0]}",
    "mv": lambda a, _: f"MV {a[0]}",
    "nihongo": _nihongo,
    "oldstyledate": lambda a, _: f"{a[0]}, {a[1]}",
    "sc": lambda a, _: a[0].upper(),
    "us$": lambda a, _: f"US${a[0]}",
    "uss": lambda a, _: f"USS {a[0]}",
    "val": _value,
}


def _tables(text: str) -> str:
    """Drop {| tables |}, the innermost first."""
    count = 1
    while count:
        text, count = re.subn(r"^[ :]*\{\|(?:(?!^[ :]*\{\||^\s*\|\}).)*^\s*\|\}", "\n", text, flags=re.S | re.M)
    return text


def _tags(text: str) -> str:
    """Drop HTML tags and keep what they hold; a tag that makes a block ends the paragraph."""
    text = re.sub(r"<sup\b[^<>]*>(.*?)</sup>", lambda m: _superscript(re.sub(r"<[^<>]*>|''+", "", m[1])), text, flags=re.S | re.I)
    text = re.sub(r"<br\b[^<>]*>", " ", text, flags=re.I)
    text = re.sub(r"</?(blockquote|center|div|hr|li|ol|p|ul)\b[^<>]*>", "\n\n", text, flags=re.I)
    return re.sub(r"</?[a-zA-Z][^<>]*>", "", text)


def _blocks(text: str, shortest: int) -> list[str]:
    """Lines that follow each other, up to an empty line, a heading, a list item or a table row; these are left out."""
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        preformatted = line.startswith(" ") and len(line) < shortest
        line = line.strip().lstrip(HOLE + " ")  # an unknown box before the text leaves no hole in it
        if not line or preformatted or line[0] in "=*#:;|!":
            blocks.append([])
        else:
            blocks[-1].append(_emphasis(line))
    return [" ".join(block) for block in blocks if block]


def _emphasis(line: str) -> str:
    """Drop the quotes of ''italic'' and '''bold'''; an apostrophe that touches them stays."""
    lengths = [len(run) for run in re.findall(r"'{2,}", line)]
    if lengths.count(2) % 2 and lengths.count(3) % 2:  # l'''Aurore'': an apostrophe, then italic
        line = re.sub(r"(?<=\w)'''(?!')", "'", line, count=1)
    line = re.sub(r"(?<!')'{4}(?!')", "'", line)
    return re.sub(r"'{2,5}", "", line)


def _mend(text: str) -> str:
    """Close the gaps that dropped markup left: blanks, empty parentheses, punctuation that hangs in the air."""
    text = " ".join(re.sub("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]", "", text).split())  # characters of no width
    text = re.sub(r"\([^()]*\)", lambda m: _without_pronunciation(m[0]), text).replace(PRONUNCIATION, "")
    text = re.sub(r"\. \. \.( \.)?", "...", text)
    text = re.sub(r"(?<=[.,;\"”])\[\d+\]", "", text)  # a footnote number that somebody typed
    count = 1
    while count:  # ( ; text: ) to (text), then ( ) to nothing, then , , to ,
        text, count = re.subn(
            r"(?<=\() *[,;:]? +|(?<=\()[,;:] *| *[,;:]? +(?=\))|[,;:](?=\))| *\( *\)| *\[ *\]|(?<=[,;])( *[,;])+", "", text
        )
    text = re.sub(r" +(?=([,;:!?]|\.(?!\.))([\s\"'”’)]|$))", "", text)
    return re.sub(r" {2,}", " ", text).strip()


def _without_pronunciation(parenthesis: str) -> str:
    """With PRONUNCIATION written P: (P; Greek: Ἀχιλλεύς, P in Attic) as (Greek: Ἀχιλλεύς)."""
    if PRONUNCIATION not in parenthesis:
        return parenthesis
    kept = []
    for piece in re.split(r"(?<=[,;])", parenthesis[1:-1]):
        before, mark, _ = piece.partition(PRONUNCIATION)
        if not mark:
            kept.append(piece)
        elif not re.fullmatch(r"\W*([a-z]+|US|UK|English)?\W*", before):
            kept.append(before.rstrip() + (piece[-1] if piece[-1] in ",;" else ""))
    return f"({''.join(kept).strip(' ,;')})"


def _is_prose(block: str) -> bool:
    """Whether a block begins and ends like a sentence, without a hole and without markup that could not be read."""
    whole = re.match(r"[^a-z]", block) and re.search(r"[.!?:…\"'”’)\]]$", block)
    return bool(whole) and not re.search(rf"[{HOLE}{{}}|\\]|\[\[|\]\]|''|</?[a-zA-Z!]", block)

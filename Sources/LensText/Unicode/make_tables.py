"""Writes UnicodeTables.swift and NormalizationTables.swift beside itself: the Unicode properties and mappings that
Hugging Face tokenizers works with.

Needs tokenizers==0.23.3, and regex (2026.11.15 was used) for the grapheme classes alone. Run: python make_tables.py

That library mixes Unicode versions (its split patterns use Oniguruma's tables, its other stages the tables of Rust's
standard library and of two crates), and none of them needs to be the version the Swift standard library has. So every
property is asked from the library itself, scalar by scalar, and stored as runs. Only what breaks text into graphemes
cannot be asked, and comes from another library with the same tables (Unicode 17).
"""
import pathlib
import string
import unicodedata

import regex
from tokenizers import Regex, normalizers, pre_tokenizers

SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(SCALARS)
CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf",
              "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn"]


def matches(pattern):
    """The scalars a one-scalar pattern of the library's regex engine matches."""
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True)
    return {c for piece, _ in split.pre_tokenize_str(TEXT) for c in piece}


def isolated(stage, pieces):
    """The scalars c for which the stage cuts "acb" into this many pieces."""
    return {c for c in SCALARS if len(stage.pre_tokenize_str("a" + c + "b")) == pieces}


def lines(text):
    width = 108
    return "\\\n".join("    " + text[i:i + width] for i in range(0, len(text), width))


OUT = []


def print(text=""):
    OUT.append(text)


def write(name):
    (pathlib.Path(__file__).parent / name).write_text("\n".join(OUT) + "\n")
    OUT.clear()


def emit(name, comment, text):
    print(f"    /// {comment}")
    print(f'    static let {name} = """\n{lines(text)}\n    """')


def runs(values):
    """(value, length) of each run over all code points."""
    result = []
    for value in values:
        if result and result[-1][0] == value:
            result[-1][1] += 1
        else:
            result.append([value, 1])
    return result


def members(found):
    """Run lengths in hexadecimal, out and in turn by turn, beginning with out."""
    result = runs(chr(c) in found for c in range(0x110000))
    if result[0][0]:
        result.insert(0, [False, 0])
    return " ".join(f"{length:x}" for _, length in result)


def properties():
    category = ["Cs"] * 0x110000
    for name in CATEGORIES:
        for c in matches(rf"\p{{{name}}}"):
            assert category[ord(c)] == "Cs", (name, c)
            category[ord(c)] = name
    letters = dict(zip(CATEGORIES + ["Cs"], string.ascii_letters[26:] + string.ascii_letters[:26]))
    assert all((category[c] == "Cs") == (0xD800 <= c < 0xE000) for c in range(0x110000))
    # Whitespace is the same everywhere, and the same as White_Space of the standard library.
    spaces = matches(r"\s")
    assert isolated(pre_tokenizers.WhitespaceSplit(), 2) == spaces
    print("// Unicode properties as Hugging Face tokenizers 0.23.3 sees them. Written by make_tables.py; do not edit.")
    print("// Runs over all code points from zero on; ScalarClasses.swift reads them.\n")
    print("enum UnicodeTables {")
    emit("categories", "Category of each run (A is Lu, then in the order of `GeneralCategory`) and, unless 1, its length.",
         "".join(letters[v] + (str(n) if n > 1 else "") for v, n in runs(category)))
    emit("spaces", "White_Space: run lengths in hexadecimal, out and in turn by turn.", members(spaces))
    emit("words", "What `\\w` matches in added tokens and in Whitespace.", members(isolated(pre_tokenizers.Whitespace(), 1)))
    emit("numerics", "What Digits takes for a digit.", members(isolated(pre_tokenizers.Digits(True), 3)))
    emit("punctuation", "What Punctuation takes for punctuation.", members(isolated(pre_tokenizers.Punctuation(), 3)))
    emit("alphabetic", "What `\\p{Alphabetic}` matches.", members(matches(r"\p{Alphabetic}")))
    emit("lowercase", "What `\\p{Lowercase}` matches.", members(matches(r"\p{Lowercase}")))
    emit("uppercase", "What `\\p{Uppercase}` matches.", members(matches(r"\p{Uppercase}")))
    emit("regexWords", "What `\\w` matches in regular expressions.", members(matches(r"\w")))
    emit("regexPunctuation", "What `[[:punct:]]` matches.", members(matches(r"[[:punct:]]")))
    emit("emoji", "What `\\p{Emoji}` matches.", members(matches(r"\p{Emoji}")))
    print("}")
    write("UnicodeTables.swift")


def mapping(found):
    """`delta=a,b` for every code point that maps to something else, all in hexadecimal, the delta from the last one."""
    parts, last = [], 0
    for c, text in sorted(found.items()):
        flag = "!" if text.startswith("\0") else ""
        parts.append(f"{c - last:x}={flag}" + ",".join(f"{ord(d):x}" for d in text.lstrip("\0")))
        last = c
    return " ".join(parts)


def numbered(values):
    """Runs of small numbers over all code points: the number, and unless 1 the length after a colon, hexadecimal."""
    return " ".join(f"{v:x}" + (f":{n:x}" if n > 1 else "") for v, n in runs(values))


def combining_classes():
    """The classes by which the library reorders. They are told apart by what they do to marks of known class."""
    nfd = normalizers.NFD().normalize_str
    marks = {}
    for c in SCALARS:
        if nfd(c) == c:
            if nfd("\u0345" + c) != "\u0345" + c or nfd(c + "\u0334") != c + "\u0334" or c in "\u0345\u0334":
                marks[c] = 0
    known = {}
    for c in marks:
        if unicodedata.combining(c) and unicodedata.combining(c) not in known:
            known[unicodedata.combining(c)] = c
    for value, mark in sorted(known.items()):
        for other, another in known.items():
            assert value == other or (nfd(another + mark) == mark + another) == (value < other), (value, other)
    for c in marks:
        equal = [v for v, r in known.items() if nfd(c + r) == c + r and nfd(r + c) == r + c]
        assert len(equal) == 1, (c, equal)
        marks[c] = equal[0]
    return marks


def decompositions():
    nfd, nfc, nfkd = (n().normalize_str for n in (normalizers.NFD, normalizers.NFC, normalizers.NFKD))
    canonical, compatible = {}, {}
    for c in SCALARS:
        if 0xAC00 <= ord(c) < 0xD7A4:
            continue
        full = nfd(c)
        if full != c:
            composes = nfc(c) == c
            if composes:
                assert nfc(nfc(full[:-1]) + full[-1]) == c and len(nfc(full[:-1])) == 1, c
            canonical[ord(c)] = full if composes else "\0" + full
        if nfkd(c) != full:
            compatible[ord(c)] = nfkd(c)
    return canonical, compatible


def folds():
    """c: the least scalar that the regex engine holds equal to c but for case."""
    cased = [c for c in SCALARS if len({c, *c.lower(), *c.upper(), *c.title(), *c.casefold()}) > 1]
    text, result = " ".join(cased), {}
    for c in cased:
        if ord(c) in result:
            continue
        split = pre_tokenizers.Split(Regex(f"(?i:\\x{{{ord(c):x}}})"), "removed", invert=True)
        group = {d for d, _ in split.pre_tokenize_str(text) if len(d) == 1}
        if len(group) > 1:
            for d in group:
                if d != min(group):
                    result[ord(d)] = min(group)
    return result


def graphemes():
    names = ["CR", "LF", "Control", "Extend", "ZWJ", "Regional_Indicator", "Prepend", "SpacingMark", "L", "V", "T", "LV", "LVT"]
    value = [0] * 0x110000
    for number, name in enumerate(names, 1):
        for m in regex.finditer(rf"\p{{GCB={name}}}", TEXT):
            value[ord(m.group())] = number
    for number, prop in [(16, "Extended_Pictographic"), (32, "InCB=Consonant"), (64, "InCB=Extend"), (128, "InCB=Linker")]:
        for m in regex.finditer(rf"\p{{{prop}}}", TEXT):
            value[ord(m.group())] |= number
    return value


def script_groups():
    """The number of each scalar's group for the UnicodeScripts stage; 0 for those that go with any."""
    stage = pre_tokenizers.UnicodeScripts()
    value, first = [0] * 0x110000, {}
    previous = None
    for c in SCALARS:
        if not stage.pre_tokenize_str(c):
            continue
        if previous and len(stage.pre_tokenize_str(previous + c)) == 1:
            value[ord(c)] = value[ord(previous)]
        else:
            found = [n for n, r in first.items() if len(stage.pre_tokenize_str(r + c)) == 1]
            assert len(found) < 2
            value[ord(c)] = found[0] if found else len(first) + 1
            first.setdefault(value[ord(c)], c)
        previous = c
    return value


def scripts():
    """The scripts the regex engine knows, and each scalar's number among them, from 1."""
    names = sorted({name.strip() for name in SCRIPTS.split()})
    value, known = [0] * 0x110000, []
    for name in names:
        try:
            found = matches(rf"\p{{{name}}}")
        except Exception:
            continue
        known.append(name)
        for c in found:
            assert value[ord(c)] == 0
            value[ord(c)] = len(known)
    return known, value


SCRIPTS = """Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki
Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian
Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan
Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Garay Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi
Gurmukhi Gurung_Khema Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited
Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi
Khitan_Small_Script Khmer Khojki Khudawadi Kirat_Rai Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian
Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui
Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari
New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Ol_Onal Old_Hungarian Old_Italic Old_North_Arabian
Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene
Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting
Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Sunuwar Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet
Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Todhri Toto Tulu_Tigalari Ugaritic Vai Vithkuqi
Wancho Warang_Citi Yezidi Yi Zanabazar_Square"""


def normalization():
    marks, (canonical, compatible) = combining_classes(), decompositions()
    lower = normalizers.Lowercase().normalize_str
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    bare = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    accents = normalizers.StripAccents().normalize_str
    spaced = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    known, script = scripts()
    print("// Mappings and classes that Hugging Face tokenizers 0.23.3 normalises with. Written by make_tables.py; do not edit.")
    print("// NormalizationData.swift reads them.\n")
    print("enum NormalizationTables {")
    emit("combiningClasses", "Canonical combining classes: runs of `class` or `class:length`, hexadecimal.",
         numbered([marks.get(chr(c), 0) for c in range(0x110000)]))
    emit("canonical", "Full canonical decompositions, `!` before those that never compose again; no Hangul syllables.",
         mapping(canonical))
    emit("compatible", "Full compatibility decompositions where they differ from the canonical ones.", mapping(compatible))
    emit("lowercase", "Lower case, where it differs.", mapping({ord(c): lower(c) for c in SCALARS if lower(c) != c}))
    emit("folds", "The least scalar that is the same but for case, where it is another.", mapping(folds()))
    emit("controls", "What BertNormalizer's clean_text drops.",
         members({c for c in SCALARS if len(clean.normalize_str("a" + c + "b")) == 2}))
    emit("nonspacing", "What BertNormalizer's strip_accents drops from decomposed text.",
         members({c for c in SCALARS if len(bare.normalize_str("a" + c + "b")) == 2}))
    emit("accents", "What StripAccents drops.", members({c for c in SCALARS if len(accents("a" + c + "b")) == 2}))
    emit("ideographs", "What BertNormalizer's handle_chinese_chars puts spaces around.",
         members({c for c in SCALARS if spaced.normalize_str(c) != c}))
    emit("graphemes", "Grapheme classes (see Graphemes.swift): runs of `class` or `class:length`, hexadecimal.", numbered(graphemes()))
    emit("scriptGroups", "Groups of scripts for the UnicodeScripts stage, 0 for any: runs as above.", numbered(script_groups()))
    emit("scripts", "The number of each scalar's script in `scriptNames`, from 1: runs as above.", numbered(script))
    emit("scriptNames", "The scripts that regular expressions can name.", " ".join(known))
    print("}")
    write("NormalizationTables.swift")


if __name__ == "__main__":
    properties()
    normalization()

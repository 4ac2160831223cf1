"""Writes UnicodeTables.swift: the Unicode properties that Hugging Face tokenizers works with.

Needs tokenizers==0.23.3. Run: python make_tables.py > UnicodeTables.swift

That library mixes Unicode versions (its split patterns use Oniguruma's tables, its other stages the tables of Rust's
standard library and of two crates), and none of them needs to be the version the Swift standard library has. So every
property is asked from the library itself, scalar by scalar, and stored as runs.
"""
import string

from tokenizers import Regex, pre_tokenizers

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


def main():
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
    print("}")


main()

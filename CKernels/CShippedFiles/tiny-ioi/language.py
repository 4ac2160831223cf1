#!/usr/bin/env python3
"""The language of tiny-ioi: short English-like documents from a fixed lexicon and fixed templates.

What the field looks for is in it on purpose: names that have to be moved ("When Mary and John went to the store, John gave
a drink to Mary."), lists said again, anything at all repeated (random words and signs, at any distance: what only
previous-token and induction heads can foresee), verbs that agree with a subject some words away, who has what (binding),
successors, and a few facts. Nothing is read from outside: the same seed makes the same text.

    language.py train --seed 0 --documents 400000 > train.txt      documents with lines of --- between
    language.py train --seed 2 --repetitions 0.45 > train.txt      the same, and random pieces repeated among them
    language.py held-out --seed 1 > held-out.json                  prompts with their right and wrong answers
    language.py tokenizer > tokenizer.json                         one token a word, bytes for the rest
"""
import argparse
import itertools
import json
import random
import re
import sys

FEMALE = """Mary Anna Emma Alice Sarah Laura Kate Lucy Julia Jane Rose Clara Nora Ruth Helen Grace Ella Eva Lily Amy Diana Irene
Martha Paula Sophie Victoria Rachel Susan Linda Karen Nina Olga Maria Ida Vera Judy""".split()
MALE = """John Tom James David Peter Mark Paul Henry Jack Sam Luke Adam Oscar Frank Simon Eric Alan Martin Robert Daniel Ben Max
Leo Hugo Victor Walter Carl Ivan Oliver Philip George Arthur Kevin Brian Steve Tim""".split()
NAMES = FEMALE + MALE
PLACES = "store park school house garden station market library beach museum office farm restaurant hospital church theater".split()
OBJECTS = "drink book ball kite ring bag pear letter key hat flower cake coin lamp map pen toy basket ticket bottle".split()
COLORS = "red blue green yellow white black brown pink".split()
# singular, plural
ANIMALS = [("dog", "dogs"), ("cat", "cats"), ("horse", "horses"), ("bird", "birds"), ("cow", "cows"), ("duck", "ducks"),
           ("sheep", "sheep"), ("goat", "goats")]
PEOPLE = [("girl", "girls"), ("boy", "boys"), ("teacher", "teachers"), ("farmer", "farmers"), ("doctor", "doctors"),
          ("singer", "singers"), ("friend", "friends"), ("child", "children")]
THINGS = [("tree", "trees"), ("car", "cars"), ("river", "rivers"), ("house", "houses"), ("wall", "walls"), ("box", "boxes"),
          ("table", "tables"), ("boat", "boats")]
# singular, plural
VERBS = [("runs", "run"), ("sleeps", "sleep"), ("waits", "wait"), ("sings", "sing"), ("eats", "eat"), ("jumps", "jump"),
         ("is", "are"), ("has", "have"), ("looks", "look"), ("was", "were")]
ENDINGS = {"runs": ["quickly", "away", "home"], "sleeps": ["quietly", "well", "outside"], "waits": ["outside", "quietly", "alone"],
           "sings": ["loudly", "well", "quietly"], "eats": ["slowly", "outside", "well"], "jumps": ["around", "quickly", "away"],
           "is": ["happy", "small", "old", "young", "tired"], "has": ["food", "water", "time"], "looks": ["happy", "old", "tired"],
           "was": ["happy", "small", "old", "tired"]}
SEES = [("sees", "see"), ("likes", "like"), ("knows", "know"), ("follows", "follow")]
NEAR = "near behind beside by".split()
# country, capital, language, continent
COUNTRIES = [("France", "Paris", "French", "Europe"), ("Germany", "Berlin", "German", "Europe"), ("Italy", "Rome", "Italian", "Europe"),
             ("Spain", "Madrid", "Spanish", "Europe"), ("Russia", "Moscow", "Russian", "Europe"), ("Poland", "Warsaw", "Polish", "Europe"),
             ("Greece", "Athens", "Greek", "Europe"), ("Sweden", "Stockholm", "Swedish", "Europe"), ("Hungary", "Budapest", "Hungarian", "Europe"),
             ("Portugal", "Lisbon", "Portuguese", "Europe"), ("Japan", "Tokyo", "Japanese", "Asia"), ("China", "Beijing", "Chinese", "Asia"),
             ("Thailand", "Bangkok", "Thai", "Asia"), ("Turkey", "Ankara", "Turkish", "Asia"), ("Vietnam", "Hanoi", "Vietnamese", "Asia"),
             ("Egypt", "Cairo", "Arabic", "Africa"), ("Kenya", "Nairobi", "Swahili", "Africa"), ("Finland", "Helsinki", "Finnish", "Europe"),
             ("Norway", "Oslo", "Norwegian", "Europe"), ("Denmark", "Copenhagen", "Danish", "Europe")]
LANDMARKS = [("The Eiffel Tower", "Paris"), ("The Colosseum", "Rome"), ("The Kremlin", "Moscow"), ("The Parthenon", "Athens"),
             ("The Brandenburg Gate", "Berlin"), ("The Prado", "Madrid")]
ORDERS = ["Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
          "January February March April May June July August September October November December".split(),
          "one two three four five six seven eight nine ten eleven twelve".split()]
CODES = """alpha bravo delta echo golf hotel india kilo lima mike oscar papa quebec romeo sierra tango uniform whiskey xray zulu stone
cloud metal paper glass wood sand fire snow rain wind moon star sun iron salt""".split()
OPENINGS = ["It was a sunny day.", "It was a cold morning.", "It was late.", "Nobody was at home.", "The sky was blue.", "It was raining."]

IOI = ["When {A} and {B} went to the {P}, {S} gave a {O} to {R}.",
       "When {A} and {B} were at the {P}, {S} gave the {O} to {R}.",
       "After {A} and {B} went to the {P}, {S} gave a {O} to {R}.",
       "While {A} and {B} were working at the {P}, {S} gave a {O} to {R}.",
       "Then, {A} and {B} went to the {P}. {S} gave a {O} to {R}.",
       "Then, {A} and {B} were at the {P}. {S} passed the {O} to {R}.",
       "{A} and {B} walked to the {P}, and {S} handed a {O} to {R}.",
       "{A} met {B} at the {P}. Then {S} showed a {O} to {R}.",
       "Yesterday {A} and {B} found a {O} at the {P}. {S} gave it to {R}.",
       "When {A} and {B} got a {O} at the {P}, {S} decided to give it to {R}.",
       "{A} and {B} had a long talk at the {P}. Afterwards {S} said goodbye to {R}.",
       "Friends {A} and {B} sat in the {P}, and {S} told a story to {R}."]


def is_held_out(a, b):
    """Whether two names never stand together in the training text."""
    return (NAMES.index(a) + NAMES.index(b)) % 11 == 0


def two_names(rng, held_out=False):
    while True:
        a, b = rng.sample(NAMES, 2)
        if is_held_out(a, b) == held_out:
            return a, b


def ioi(rng, template=None, held_out=False):
    """A sentence whose last word is the name that was not repeated."""
    a, b = two_names(rng, held_out)
    s, r = (a, b) if rng.random() < 0.5 else (b, a)
    return (template or rng.choice(IOI)).format(A=a, B=b, S=s, R=r, P=rng.choice(PLACES), O=rng.choice(OBJECTS)), s, r


def induction(rng):
    """Words in a random order, and the same again."""
    words = [rng.choice(CODES) for _ in range(rng.randint(4, 12))]
    lead = rng.choice(["The code is", "Remember the words:", "The list says", "They sang:"])
    again = rng.choice(["Again:", "Once more:", "The code is", "Say it again:"])
    return f"{lead} {' '.join(words)}. {again} {' '.join(words)}.", words


def noun_phrase(rng):
    noun = rng.choice(ANIMALS[:6] + ANIMALS[7:] + PEOPLE)
    number = rng.randint(0, 1)
    return noun[number], number


def agreement(rng):
    """A subject, something of another number perhaps in between, and its verb."""
    subject, number = noun_phrase(rng)
    kind = rng.random()
    if kind < 0.25:
        middle = ""
    elif kind < 0.65:
        thing = rng.choice(THINGS)[rng.randint(0, 1)]
        middle = f" {rng.choice(NEAR)} the {thing}"
    else:
        other, n = noun_phrase(rng)
        middle = f" that the {other} {rng.choice(SEES)[n]}" if rng.random() < 0.5 else f" that {rng.choice(SEES)[number]} the {other}"
    verb = rng.choice(VERBS)
    return f"The {subject}{middle} {verb[number]} {rng.choice(ENDINGS[verb[0]])}.", f"The {subject}{middle}", number


def binding(rng):
    """Who has what, and one of them asked about."""
    count = rng.randint(2, 3)
    names, objects = rng.sample(NAMES, count), rng.sample(OBJECTS, count)
    while any(is_held_out(a, b) for a, b in itertools.combinations(names, 2)):
        names = rng.sample(NAMES, count)
    colors = [rng.choice(COLORS) for _ in names]
    said = [f"{n} has a {c} {o}." for n, c, o in zip(names, colors, objects)]
    pick = rng.randrange(count)
    return f"{' '.join(said)} What does {names[pick]} have? {names[pick]} has a {colors[pick]} {objects[pick]}."


def pronoun(rng):
    name = rng.choice(NAMES)
    they, them, their = ("She", "her", "her") if name in FEMALE else ("He", "him", "his")
    o, p = rng.choice(OBJECTS), rng.choice(PLACES)
    return rng.choice([f"{name} lost the {o}. {they} looked for it at the {p}.", f"{name} was at the {p}. {they} had {their} {o} in a bag.",
                       f"{name} was happy. {they} found {their} {o} at the {p}.", f"The {o} is for {name}. I will give it to {them}."])


def fact(rng):
    country, capital, language, continent = rng.choice(COUNTRIES)
    landmark, city = rng.choice(LANDMARKS)
    return rng.choice([f"The capital of {country} is {capital}.", f"{capital} is the capital of {country}.", f"People in {country} speak {language}.",
                       f"{country} is a country in {continent}.", f"People in {capital} speak {language}.", f"{capital} is a city in {country}.",
                       f"{landmark} is in {city}.", f"{landmark} is in the city of {city}."])


def order(rng):
    words = rng.choice(ORDERS)
    first = rng.randrange(len(words) - 1)
    run = words[first:first + rng.randint(2, 6)]
    return rng.choice([" ".join(run) + ".", f"After {words[first]} comes {words[first + 1]}.", f"Before {words[first + 1]} comes {words[first]}."])


def trade(rng):
    """Longer use of two names: each is used again after the other."""
    a, b = two_names(rng)
    o, p = rng.choice(OBJECTS), rng.choice(PLACES)
    return rng.choice([f"{a} saw {b} at the {p}. {a} said hello to {b}, and {b} said hello to {a}.",
                       f"{a} wanted a {o}. {b} had a {o}, and {b} gave it to {a}. {a} thanked {b}.",
                       f"{a} and {b} are friends. {a} likes {b}, and {b} likes {a}."])


KINDS = [(lambda r: ioi(r)[0], 30), (lambda r: induction(r)[0], 14), (lambda r: agreement(r)[0], 18), (binding, 10), (pronoun, 7),
         (fact, 10), (order, 6), (trade, 8)]


def character(rng):
    """Any character: the bytes of UTF-8 in about equal shares. No line ends: the text is read by lines."""
    kind = rng.random()
    if kind < 0.7:
        return chr(rng.choice([c for c in range(128) if c not in (10, 13)]))
    low, high = (0x80, 0x7FF) if kind < 0.85 else (0x800, 0xFFFF) if kind < 0.97 else (0x10000, 0x10FFFF)
    while True:
        code = rng.randint(low, high)
        # Halves of pairs are no characters, and U+0085, U+2028 and U+2029 end lines too.
        if not 0xD800 <= code <= 0xDFFF and code not in (0x85, 0x2028, 0x2029):
            return chr(code)


def random_pieces(rng, words, count):
    """Pieces of the vocabulary, all as likely: what comes next says nothing."""
    return [rng.choice(words) if rng.random() < 0.8 else character(rng) for _ in range(count)]


def repetition(rng, words):
    """Random pieces, and the same again, once or more: after others or not, from their beginning or not."""
    count = rng.randint(2, rng.choice([8, 28]))
    said = random_pieces(rng, words, count)
    text = random_pieces(rng, words, rng.randint(1, min(8, 62 - 2 * count))) if rng.random() < 0.4 else []
    text += said
    full = rng.randint(len(text) + count, 62)
    while len(text) < full:
        if rng.random() < 0.2:
            text += random_pieces(rng, words, rng.randint(1, 3))
        text += said[rng.randrange(count) if rng.random() < 0.2 else 0:]
    return "".join(text[:full])


def document(rng):
    kinds, weights = zip(*KINDS)
    parts = [rng.choice(OPENINGS)] if rng.random() < 0.15 else []
    for kind in rng.choices(kinds, weights, k=rng.randint(1, 4)):
        parts.append(kind(rng))
    return " ".join(parts)


def held_out(rng, count):
    """Prompts with their right and wrong next words, of names, words and templates in combinations drawn anew."""
    cases = []
    for template in IOI:
        for _ in range(count // 8):
            text, s, r = ioi(rng, template, held_out=True)
            cases.append({"kind": "ioi", "prompt": text[: -len(r) - 2], "answer": " " + r, "wrong": " " + s})
    for _ in range(count):
        text, words = induction(rng)
        cut = rng.randint(2, len(words) - 1)
        again = text[: text.rindex(" ".join(words))] + " ".join(words[:cut])
        answer = words[cut]
        wrong = rng.choice([w for w in words if w != answer] or ["stone"])
        # What follows the words before it must be settled by the first round.
        pairs = [w2 for w1, w2 in zip(words, words[1:]) if w1 == words[cut - 1]]
        if set(pairs) == {answer}:
            cases.append({"kind": "induction", "prompt": again, "answer": " " + answer, "wrong": " " + wrong})
    words = [piece for piece in lexicon() if piece[0] == " "]
    for _ in range(count):
        # Random words, and the same again up to one of them.
        said = rng.sample(words, rng.randint(4, 24))
        cut = rng.randint(1, len(said) - 1)
        ahead = rng.sample([w for w in words if w not in said], rng.randint(0, 8))
        cases.append({"kind": "repetition", "prompt": "".join(ahead + said + said[:cut]), "answer": said[cut],
                      "wrong": rng.choice([w for w in said if w != said[cut]])})
    for _ in range(count):
        _, prompt, number = agreement(rng)
        verb = rng.choice(VERBS)
        cases.append({"kind": "agreement", "prompt": prompt, "answer": " " + verb[number], "wrong": " " + verb[1 - number]})
    for country, capital, language, _ in COUNTRIES:
        other = rng.choice([c for c in COUNTRIES if c[0] != country])
        cases.append({"kind": "fact", "prompt": f"The capital of {country} is", "answer": " " + capital, "wrong": " " + other[1]})
        cases.append({"kind": "fact", "prompt": f"People in {country} speak", "answer": " " + language, "wrong": " " + next(
            c[2] for c in COUNTRIES if c[2] != language)})
    for words in ORDERS:
        for first, second in zip(words, words[1:]):
            cases.append({"kind": "successor", "prompt": f"After {first} comes", "answer": " " + second,
                          "wrong": " " + rng.choice([w for w in words if w not in (first, second)])})
    return cases


PIECES = re.compile(r" ?[A-Za-z]+| ?[^\sA-Za-z]")


def lexicon():
    """Every word and sign the templates can make, with and without the space before it, in a fixed order."""
    rng, seen = random.Random(7), {}
    for _ in range(60000):
        for piece in PIECES.findall(document(rng)):
            seen[piece] = True
    words = {w for piece in seen for w in [piece.strip()] if w.isalpha()}
    # A word of the lexicon may begin a text or stand in it.
    pieces = set(seen) | {" " + w for w in words} | {w for w in words if w[0].isupper()}
    return sorted(pieces)


def byte_alphabet():
    """Bytes as printable characters, as GPT-2's byte-level tokenizers write them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, more = {b: chr(b) for b in kept}, 0
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + more)
            more += 1
    return table


def tokenizer():
    alphabet = byte_alphabet()
    spelled = lambda piece: "".join(alphabet[b] for b in piece.encode())
    vocabulary = [["<|endoftext|>", 0.0]]
    vocabulary += [[c, -20.0] for c in sorted(alphabet.values())]
    singles = {c for c, _ in vocabulary}
    vocabulary += [[spelled(p), -1.0] for p in lexicon() if spelled(p) not in singles]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": 0, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False, "special": True}],
            "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
            "model": {"type": "Unigram", "unk_id": 0, "vocab": vocabulary, "byte_fallback": False}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "held-out", "tokenizer"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=int, default=400000)
    parser.add_argument("--repetitions", type=float, default=0, help="the share of documents that are random pieces, repeated")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--each", type=int, help="of held-out prompts, how many of each kind (default: all)")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    if options.what == "train":
        words, again = lexicon(), random.Random(options.seed)
        for number in range(options.documents):
            repeats = again.random() < options.repetitions
            print(("---\n" if number else "") + (repetition(again, words) if repeats else document(rng)))
    elif options.what == "held-out":
        cases = held_out(rng, options.count)
        if options.each:
            of_kinds = [[case for case in cases if case["kind"] == kind] for kind in dict.fromkeys(case["kind"] for case in cases)]
            cases = [case for of_kind in of_kinds for case in rng.sample(of_kind, min(options.each, len(of_kind)))]
        json.dump(cases, sys.stdout, indent=0, ensure_ascii=False)
    else:
        json.dump(tokenizer(), sys.stdout, ensure_ascii=False, indent=0)


if __name__ == "__main__":
    main()

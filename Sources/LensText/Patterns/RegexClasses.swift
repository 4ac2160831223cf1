// The named classes of regular expressions: \w, \p{…}, [:…:].
import LensFiles
import Synchronization

enum RegexClasses {
    static let space = ScalarSet(runs: UnicodeTables.spaces)
    static let word = ScalarSet(runs: UnicodeTables.regexWords)
    /// The same in brackets, where the reference goes by another table for Latin-1.
    static let bracketWord = word.intersection(ScalarSet([0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE]).inverted)
    static let digit = category([.Nd])
    static let hexDigit = ScalarSet("0123456789abcdefABCDEF".unicodeScalars.map(\.value))
    static let newline = ScalarSet([0x0A])

    private static let made = Mutex<[String: ScalarSet]>([:])
    private static let scriptNumbers = ScalarMap(runs: NormalizationTables.scripts)
    private static let scriptNames: [String: UInt16] = {
        var names: [String: UInt16] = [:]
        for (number, name) in NormalizationTables.scriptNames.split(separator: " ").enumerated() {
            names[plain(String(name))] = UInt16(truncatingIfNeeded: number + 1)
        }
        return names
    }()
    private static let longNames = [
        "letter": "l", "uppercaseletter": "lu", "lowercaseletter": "ll", "titlecaseletter": "lt", "casedletter": "lc",
        "modifierletter": "lm", "otherletter": "lo", "mark": "m", "nonspacingmark": "mn", "spacingmark": "mc",
        "enclosingmark": "me", "number": "n", "decimalnumber": "nd", "letternumber": "nl", "othernumber": "no",
        "punctuation": "p", "connectorpunctuation": "pc", "dashpunctuation": "pd", "openpunctuation": "ps",
        "closepunctuation": "pe", "initialpunctuation": "pi", "finalpunctuation": "pf", "otherpunctuation": "po",
        "symbol": "s", "mathsymbol": "sm", "currencysymbol": "sc", "modifiersymbol": "sk", "othersymbol": "so",
        "separator": "z", "spaceseparator": "zs", "lineseparator": "zl", "paragraphseparator": "zp", "other": "c",
        "control": "cc", "format": "cf", "privateuse": "co", "unassigned": "cn", "surrogate": "cs",
    ]

    /// The class with a name, as in `\p{name}` or `[:name:]`; nil if there is none.
    static func named(_ name: String) -> ScalarSet? {
        let key = plain(name)
        if let known = made.withLock({ $0[key] }) { return known }
        guard let set = make(longNames[key] ?? key) else { return nil }
        made.withLock { $0[key] = set }
        return set
    }

    private static func make(_ key: String) -> ScalarSet? {
        switch key {
        case "any": return .all
        case "assigned": return category([.Cn]).inverted
        case "ascii": return ScalarSet(range: 0, 0x7F)
        case "alnum": return ScalarSet(runs: UnicodeTables.alphabetic).union(digit)
        case "alpha", "alphabetic": return ScalarSet(runs: UnicodeTables.alphabetic)
        case "lower", "lowercase": return ScalarSet(runs: UnicodeTables.lowercase)
        case "upper", "uppercase": return ScalarSet(runs: UnicodeTables.uppercase)
        case "emoji": return ScalarSet(runs: UnicodeTables.emoji)
        case "punct": return ScalarSet(runs: UnicodeTables.regexPunctuation)
        case "space", "whitespace": return space
        case "blank": return category([.Zs]).union(ScalarSet([9]))
        case "cntrl": return category([.Cc])
        case "digit": return digit
        case "xdigit": return hexDigit
        case "word": return bracketWord
        case "graph": return space.union(category([.Cc, .Cn, .Cs])).inverted
        case "print": return category([.Cc, .Cn, .Cs, .Zl, .Zp]).inverted
        case "lc": return category([.Lu, .Ll, .Lt])
        default: break
        }
        let found = GeneralCategory.allCases.filter { "\($0)".lowercased().hasPrefix(key) }
        if !found.isEmpty, (1...2).contains(key.utf8.count) { return category(Set(found)) }
        guard let number = scriptNames[key] else { return nil }
        return ScalarSet { scriptNumbers[$0] == number }
    }

    private static func category(_ categories: Set<GeneralCategory>) -> ScalarSet {
        let wanted = categories.reduce(UInt32(0)) { $0 | 1 << UInt32($1.rawValue) }
        return ScalarSet { wanted >> UInt32(ScalarClasses.of($0).bits & 31) & 1 == 1 }
    }

    private static func plain(_ name: String) -> String {
        String(decoding: name.utf8.filter { $0 != 0x20 && $0 != 0x2D && $0 != 0x5F }.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}

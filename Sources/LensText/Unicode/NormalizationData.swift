// The tables of normalization as they are looked up: made once, when the first tokenizer that needs them is loaded.

/// Scalars that stand for several others.
struct ScalarExpansions: Sendable {
    private let numbers: ScalarMap
    private var scalars: [UInt32] = []
    private var starts: [Int] = [0]
    /// Whether entry i was flagged.
    private(set) var flags: [Bool] = []
    private(set) var sources: [UInt32] = []

    /// From `delta=a,b` for every code point that is not itself, in hexadecimal, flagged ones with `!` after the `=`.
    init(_ text: String) {
        var all = [UInt16](repeating: 0, count: 0x110000)
        var code: UInt32 = 0
        for item in text.utf8.split(separator: UInt8(ascii: " ")) {
            let parts = item.split(separator: UInt8(ascii: "="))
            code += hexadecimal(parts[0])
            flags.append(parts[1].first == UInt8(ascii: "!"))
            for part in parts[1].drop(while: { $0 == UInt8(ascii: "!") }).split(separator: UInt8(ascii: ",")) {
                scalars.append(hexadecimal(part))
            }
            starts.append(scalars.count)
            sources.append(code)
            if code < 0x110000 { all[Int(code)] = UInt16(truncatingIfNeeded: starts.count - 1) }
        }
        numbers = ScalarMap(all)
    }

    /// What stands for a scalar; nil if it stands for itself.
    @inline(__always)
    subscript(_ scalar: UInt32) -> ArraySlice<UInt32>? {
        let number = Int(numbers[scalar])
        return number == 0 ? nil : scalars[starts[number - 1]..<starts[number]]
    }

    /// What entry `number` expands to.
    func entry(_ number: Int) -> ArraySlice<UInt32> { scalars[starts[number]..<starts[number + 1]] }
}

enum NormalizationData {
    static let combiningClasses = ScalarMap(runs: NormalizationTables.combiningClasses)
    static let canonical = ScalarExpansions(NormalizationTables.canonical)
    static let compatible = ScalarExpansions(NormalizationTables.compatible)
    static let lowercase = ScalarExpansions(NormalizationTables.lowercase)
    static let controls = ScalarMap(members: NormalizationTables.controls)
    static let nonspacing = ScalarMap(members: NormalizationTables.nonspacing)
    static let accents = ScalarMap(members: NormalizationTables.accents)
    static let ideographs = ScalarMap(members: NormalizationTables.ideographs)
    static let scriptGroups = ScalarMap(runs: NormalizationTables.scriptGroups)

    /// What two scalars compose to, for all that do but the Hangul syllables.
    static let compositions: [UInt64: UInt32] = {
        var whole: [[UInt32]: UInt32] = [:], pairs: [UInt64: UInt32] = [:]
        for (number, source) in canonical.sources.enumerated() where !canonical.flags[number] {
            whole[Array(canonical.entry(number))] = source
        }
        for (parts, source) in whole {
            guard let last = parts.last, parts.count > 1 else { continue }
            let first = parts.count == 2 ? parts[0] : whole[parts.dropLast()] ?? 0
            pairs[UInt64(first) << 32 | UInt64(last)] = source
        }
        return pairs
    }()
    /// The scalars that come second in a composition.
    static let seconds: ScalarMap = {
        var all = [UInt16](repeating: 0, count: 0x110000)
        for pair in compositions.keys { all[Int(UInt32(truncatingIfNeeded: pair))] = 1 }
        return ScalarMap(all)
    }()
}

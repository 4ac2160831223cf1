// The one error type of the package. It says what went wrong, where, what was expected, what was found and what to do.
// It refuses to be a bag of strings only: `kind` lets a program choose what to do without reading prose.

/// Everything this package throws.
///
/// Printed as one line: `what (where): expected …, found …; advice`.
public struct LensError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What sort of thing went wrong.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// A file that cannot be opened, read or written.
        case file
        /// Bytes or text that do not follow their format.
        case format
        /// A model's configuration: a missing, unknown or impossible value.
        case config
        /// A checkpoint's tensors: missing, extra, mis-shaped or of an unsupported type.
        case weights
        /// Text or tokens that cannot be converted.
        case text
        /// Shapes or indices that do not fit an operation.
        case shape
        /// An unknown name: a hook, a model, a parameter, a command's value.
        case name
        /// A call whose arguments do not go together or are out of range.
        case usage
        /// The machine cannot do it: memory, instruction set.
        case machine
        /// The task was cancelled.
        case cancelled
    }

    public var kind: Kind
    /// What went wrong, as a short clause.
    public var what: String
    /// Where: a file, a key, a hook or a tensor.
    public var location: String?
    public var expected: String?
    public var found: String?
    /// What to do about it.
    public var advice: String?

    public init(_ kind: Kind, _ what: String, at location: String? = nil, expected: String? = nil,
                found: String? = nil, advice: String? = nil) {
        self.kind = kind
        self.what = what
        self.location = location
        self.expected = expected
        self.found = found
        self.advice = advice
    }

    /// The error with `prefix` before its location: how a loader adds the file's name to what a parser found.
    public func located(in prefix: String) -> LensError {
        var error = self
        error.location = location.map { "\(prefix): \($0)" } ?? prefix
        return error
    }

    /// One line, control characters (which file content can smuggle in) escaped, overlong parts cut.
    public var description: String {
        var line = Self.clean(what)
        if let location { line += " (\(Self.clean(location)))" }
        switch (expected, found) {
        case let (expected?, found?): line += ": expected \(Self.clean(expected)), found \(Self.clean(found))"
        case let (expected?, nil): line += ": expected \(Self.clean(expected))"
        case let (nil, found?): line += ": found \(Self.clean(found))"
        case (nil, nil): break
        }
        if let advice { line += "; \(Self.clean(advice))" }
        return line
    }

    private static func clean(_ text: String) -> String {
        var result = ""
        for (count, scalar) in text.unicodeScalars.enumerated() {
            if count == 1_000 { return result + "…" }
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
                || scalar.value == 0x2028 || scalar.value == 0x2029
            if isControl { result += "\\u{\(String(scalar.value, radix: 16))}" } else { result.unicodeScalars.append(scalar) }
        }
        return result
    }
}

/// The candidate nearest to `name` by edit distance, for "did you mean" advice; nil if none is near.
public func nearestName<S: Sequence>(to name: String, among candidates: S) -> String? where S.Element == String {
    let wanted = Array(name.unicodeScalars.prefix(200))
    var best: (distance: Int, name: String)?
    for candidate in candidates {
        let distance = editDistance(wanted, Array(candidate.unicodeScalars.prefix(200)))
        if distance < best?.distance ?? Int.max { best = (distance, candidate) }
    }
    guard let best, best.distance <= max(2, wanted.count / 2) else { return nil }
    return best.name
}

/// Levenshtein distance.
private func editDistance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let substituted = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
        }
    }
    return row[b.count]
}

// Follows one row's text while it is generated: what can be shown so far, and whether a stop string has come.

import LensFiles

/// One row's text, token by token. A stop string counts once its last character is there, wherever tokens end: it is looked
/// for in the decoded text after the prompt, so that it may begin or end inside a token.
public struct TextWatcher {
    private let decode: ([Int]) throws -> String
    private let stops: [[Unicode.Scalar]]
    private var tokens: [Int]
    /// Scalars shown so far.
    private var shown: Int
    private var text: String
    public private(set) var hasStopped = false
    public let promptText: String

    /// - Parameters:
    ///   - prompt: tokens before; a stop string in them stops nothing.
    ///   - stops: not empty each.
    public init(prompt: [Int], stops: [String] = [], decode: @escaping ([Int]) throws -> String) throws {
        guard !stops.contains("") else { throw LensError(.usage, "a stop string is empty", expected: "at least one character") }
        self.decode = decode
        self.stops = stops.map { Array($0.unicodeScalars) }
        tokens = prompt
        promptText = try decode(prompt)
        text = promptText
        shown = promptText.unicodeScalars.count
    }

    /// Adds a token. - Returns: text that can be shown now; a character still in pieces waits.
    public mutating func add(_ token: Int) throws -> String {
        guard !hasStopped else { return "" }
        tokens.append(token)
        text = try decode(tokens)
        if let end = stopEnd() {
            hasStopped = true
            text = String(String.UnicodeScalarView(text.unicodeScalars.prefix(end)))
        } else if text.unicodeScalars.last == "\u{FFFD}" {
            return ""
        }
        return show()
    }

    /// What was held back: for the end of a row.
    public mutating func rest() -> String { show() }

    /// Prompt and continuation, up to and with the stop string.
    public var wholeText: String { text }

    /// The continuation alone.
    public var continuation: String { String(String.UnicodeScalarView(text.unicodeScalars.dropFirst(promptText.unicodeScalars.count))) }

    private mutating func show() -> String {
        let new = String(String.UnicodeScalarView(text.unicodeScalars.dropFirst(shown)))
        shown = max(shown, text.unicodeScalars.count)
        return new
    }

    /// Scalars up to the end of the first stop string after the prompt.
    private func stopEnd() -> Int? {
        guard !stops.isEmpty else { return nil }
        let scalars = Array(text.unicodeScalars), begin = promptText.unicodeScalars.count
        return stops.compactMap { wanted -> Int? in
            guard scalars.count - begin >= wanted.count else { return nil }
            return (begin...scalars.count - wanted.count).first { scalars[$0..<$0 + wanted.count].elementsEqual(wanted) }.map { $0 + wanted.count }
        }.min()
    }
}

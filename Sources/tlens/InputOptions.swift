// INPUT: prompts or tokens, from the command line or from files.

import ArgumentParser
import TransformerLens

/// What to run on: exactly one kind of input, one row or several.
struct InputOptions: ParsableArguments {
    @Option(name: .customLong("prompt"), parsing: .unconditionalSingleValue,
            help: ArgumentHelp("Text. Repeat for a batch.", valueName: "text"))
    var prompts: [String] = []

    @Option(help: ArgumentHelp("A file with one prompt a line.", valueName: "file"))
    var promptsFile: String?

    @Option(help: ArgumentHelp("Tokens, as 1,2,3. Repeat for a batch.", valueName: "ids"))
    var tokens: [String] = []

    @Option(help: ArgumentHelp("A JSON file with rows of tokens, [[1,2,3],[4,5]].", valueName: "file"))
    var tokensFile: String?

    @OptionGroup var bos: BOSOptions

    @Option(help: ArgumentHelp("Where shorter rows of a batch are padded: right or left.", valueName: "side"))
    var paddingSide = "right"

    func validate() throws {
        let kinds = [!prompts.isEmpty, promptsFile != nil, !tokens.isEmpty, tokensFile != nil].count(where: \.self)
        guard kinds == 1 else {
            throw ValidationError(kinds == 0 ? "nothing to run on: give --prompt, --prompts-file, --tokens or --tokens-file"
                : "give only one of --prompt, --prompts-file, --tokens and --tokens-file")
        }
        guard PaddingSide(rawValue: paddingSide) != nil else { throw ValidationError("--padding-side takes right or left, not '\(paddingSide)'") }
        for list in tokens { _ = try tokenList(list) }
    }

    /// Rows of tokens.
    func rows(_ model: HookedTransformer) throws -> [[Int]] {
        guard case .texts(let texts) = try given() else { return try given().rows }
        return try texts.map { text in
            let row = try model.toTokens(text, prependBOS: bos.choice, truncate: false).array
            if row.isEmpty { throw LensError(.usage, "nothing to run on", at: "an empty prompt", advice: "give text, or --prepend-bos") }
            return row
        }
    }

    var side: PaddingSide { PaddingSide(rawValue: paddingSide) ?? .right }

    static func lines(of path: String) throws -> [String] {
        let bytes = try DataFile(path: path).readAll(limit: 1 << 30)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw LensError(.format, "not UTF-8 text", at: path) }
        var lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }.map(String.init)
        while lines.last == "" { lines.removeLast() }
        guard !lines.isEmpty else { throw LensError(.format, "no prompts", at: path, expected: "one prompt a line") }
        if let blank = lines.firstIndex(of: "") {
            // Rows are lines: leaving one out would number the rest wrongly.
            throw LensError(.format, "empty prompt", at: "\(path): line \(blank + 1)", expected: "one prompt a line", advice: "remove the line")
        }
        return lines
    }

    static func rows(of path: String) throws -> [[Int]] {
        let rows = try JSON.parse(file: path, limit: 1 << 30).asArray(at: path)
        guard !rows.isEmpty else { throw LensError(.format, "no tokens", at: path, expected: "[[1, 2, …], …]") }
        return try rows.enumerated().map { index, row in
            try row.asArray(at: "\(path): row \(index)").map { try $0.asInt(at: "\(path): row \(index)") }
        }
    }
}

/// `1,2,3` as numbers.
func tokenList(_ text: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        let trimmed = part.drop { $0 == " " }
        guard let token = Int(trimmed), token >= 0 else {
            throw ValidationError("tokens are numbers from 0 with commas between, as 1,2,3; found '\(part)'")
        }
        return token
    }
}

// Multiple-choice questions from a local file, as MMLU (Hendrycks et al. 2021) has them: JSON lines with `question`,
// `choices`, `answer` (an index or a letter) and perhaps `subject`, or CSV, with a header of those names (choices under A, B,
// C, …) or without one as question, choices, letter.

import LensFiles

/// A question with lettered choices.
public struct LetterQuestion: Sendable, Hashable {
    public let question: String
    public let choices: [String]
    /// The right choice, from 0.
    public let answer: Int
    public let subject: String

    /// - Throws: `LensError(.format)` without two choices, with more than there are letters, or an answer that is none of them.
    public init(question: String, choices: [String], answer: Int, subject: String = "", at location: String = "question") throws {
        guard (2...26).contains(choices.count), choices.indices.contains(answer) else {
            throw LensError(.format, "not a multiple-choice question", at: location, expected: "2 to 26 choices, an answer among them",
                            found: "\(choices.count) choices, answer \(answer)")
        }
        self.question = question
        self.choices = choices
        self.answer = answer
        self.subject = subject
    }

    /// TransformerLens' zero-shot prompt.
    public var prompt: String {
        let listed = zip(Self.letters, choices).map { "\($0). \($1)\n" }.joined()
        return "Question: \(question)\nChoices:\n\(listed)Answer:"
    }

    static let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".map(String.init)

    /// The questions of a `.jsonl`/`.json` or `.csv` file.
    /// - Throws: `LensError(.file)`, or `(.format)` that names the line.
    public static func read(file path: String) throws -> [LetterQuestion] {
        let bytes = try DataFile(path: path).readAll(limit: 1 << 30)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw LensError(.format, "not UTF-8 text", at: path) }
        let questions = path.hasSuffix(".csv") ? try rows(try CSV.rows(of: text, at: path), path) : try lines(of: text, path)
        guard !questions.isEmpty else { throw LensError(.format, "no questions", at: path) }
        return questions
    }

    private static func lines(of text: String, _ path: String) throws -> [LetterQuestion] {
        var questions: [LetterQuestion] = []
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() where !line.allSatisfy(\.isWhitespace) {
            let place = "\(path): line \(index + 1)"
            let json = try JSON.parse(Array(line.utf8), at: place)
            let choices = try (json["choices"] ?? .null).asArray(at: "\(place): choices").map { try $0.asString(at: "\(place): choices") }
            let given = json["answer"] ?? .null
            let answer = try given.stringValue.map { try letter($0, place) } ?? given.asInt(at: "\(place): answer")
            questions.append(try LetterQuestion(question: (json["question"] ?? .null).asString(at: "\(place): question"), choices: choices,
                                                answer: answer, subject: json["subject"]?.stringValue ?? "", at: place))
        }
        return questions
    }

    private static func rows(_ rows: [[String]], _ path: String) throws -> [LetterQuestion] {
        let header = rows.first?.map { $0.lowercased() } ?? []
        let hasHeader = header.contains("question") && header.contains("answer")
        return try rows.enumerated().dropFirst(hasHeader ? 1 : 0).map { index, row in
            let place = "\(path): row \(index + 1)"
            guard row.count >= 4, !hasHeader || row.count == header.count else {
                throw LensError(.format, "too few or too many columns", at: place, expected: hasHeader ? "\(header.count)" : "question, choices, letter", found: "\(row.count)")
            }
            guard hasHeader else {
                return try LetterQuestion(question: row[0], choices: Array(row[1..<row.count - 1]), answer: letter(row[row.count - 1], place), at: place)
            }
            func column(_ name: String) -> String? { header.firstIndex(of: name).map { row[$0] } }
            let choices = letters.compactMap { column($0.lowercased()) }
            let given = column("answer") ?? ""
            return try LetterQuestion(question: column("question") ?? "", choices: choices, answer: Int(given) ?? letter(given, place),
                                      subject: column("subject") ?? "", at: place)
        }
    }

    private static func letter(_ text: String, _ place: String) throws -> Int {
        guard let index = letters.firstIndex(of: text.trimmed.uppercased()) else {
            throw LensError(.format, "not an answer", at: place, expected: "a letter from A", found: text)
        }
        return index
    }
}

extension String {
    fileprivate var trimmed: String { String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()) }
}

/// Comma-separated values (RFC 4180): quoted fields may hold commas, line ends and doubled quotes.
enum CSV {
    /// - Throws: `LensError(.format)` for a quote that is not closed.
    static func rows(of text: String, at path: String) throws -> [[String]] {
        var rows: [[String]] = [], row: [String] = [], field = ""
        var isQuoted = false, wasQuoted = false
        func endRow() {
            row.append(field)
            if row != [""] || wasQuoted { rows.append(row) }
            (row, field, wasQuoted) = ([], "", false)
        }
        var characters = text.makeIterator(), pushed: Character?
        while let character = pushed ?? characters.next() {
            pushed = nil
            if isQuoted {
                guard character == "\"" else {
                    field.append(character)
                    continue
                }
                let next = characters.next()
                if next == "\"" { field.append("\"") } else {
                    isQuoted = false
                    pushed = next
                }
            } else if character == "\"", field.isEmpty {
                isQuoted = true
                wasQuoted = true
            } else if character == "," {
                row.append(field)
                field = ""
            } else if character.isNewline {
                endRow()
            } else {
                field.append(character)
            }
        }
        if isQuoted { throw LensError(.format, "a quote that is not closed", at: path, found: "row \(rows.count + 1)") }
        endRow()
        return rows
    }
}

// Training data from files: texts, tokenized and cut into rows of one length, and files of tokens (JSON lists, .npy).

import LensFiles
import LensModel
import LensTensor

extension TokenRowsData {
    /// A text file as rows of `length` tokens: its documents one after another, an end-of-sequence token between two, cut into
    /// rows; what is left after the last is dropped (TransformerLens' `tokenize_and_concatenate`).
    /// - Parameters:
    ///   - separator: between documents in the file: a line of its own with just this; nil: the file is one document.
    ///   - bos: begins every row. - eos: stands between documents.
    ///   - heldOut: this share of the rows, spread evenly, is held out.
    /// - Throws: `LensError(.file)`, `(.format)` for text that is not UTF-8, `(.usage)` for a file shorter than one row.
    public init(text path: String, tokenizer: any Tokenizing, vocabularySize: Int, length: Int, separator: String? = nil, bos: Int? = nil, eos: Int? = nil,
                heldOut: Double = 0.05, seed: UInt64 = 0) throws {
        let file = try DataFile(path: path)
        guard let text = String(validating: try file.read(0..<file.size), as: UTF8.self) else { throw LensError(.format, "not UTF-8 text", at: path) }
        var stream: [Int] = []
        for (index, document) in Self.documents(text, separator).enumerated() {
            if index > 0, let eos { stream.append(eos) }
            stream += try tokenizer.encode(text: document, addSpecialTokens: false)
        }
        try self.init(stream: stream, length: length, bos: bos, vocabularySize: vocabularySize, heldOut: heldOut, seed: seed, name: path)
    }

    private static func documents(_ text: String, _ separator: String?) -> [String] {
        guard let separator else { return [text] }
        var documents: [[Substring]] = [[]]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == separator { documents.append([]) } else { documents[documents.count - 1].append(line) }
        }
        return documents.map { $0.joined(separator: "\n") }.filter { !$0.isEmpty }
    }

    /// A file of tokens: JSON, a list of numbers or of lists, or a `.npy` array of integers of one or two axes. Lists of one
    /// length `length` are rows as they are; a flat list, and lists of other lengths one after another, are cut into rows.
    /// - Throws: `LensError(.format)` for anything else in the file; as the one before.
    public init(tokens path: String, vocabularySize: Int? = nil, length: Int, bos: Int? = nil, heldOut: Double = 0.05, seed: UInt64 = 0) throws {
        let lists = path.hasSuffix(".npy") ? try Self.numpy(path) : try Self.json(path)
        let most = lists.reduce(0) { max($0, $1.max() ?? 0) }
        let vocabulary = try vocabularySize ?? {
            guard most < Int(Int32.max) else { throw LensError(.format, "a token too large", at: path, found: "\(most)") }
            return most + 1
        }()
        if lists.count > 1, bos == nil, lists.allSatisfy({ $0.count == length }) {
            try self.init(rows: lists, vocabularySize: vocabulary, heldOut: heldOut, seed: seed, name: path)
        } else {
            try self.init(stream: lists.flatMap(\.self), length: length, bos: bos, vocabularySize: vocabulary, heldOut: heldOut, seed: seed, name: path)
        }
    }

    private init(stream: [Int], length: Int, bos: Int?, vocabularySize: Int, heldOut: Double, seed: UInt64, name: String) throws {
        let body = bos == nil ? length : length - 1
        guard length >= 2, stream.count >= body else {
            throw LensError(.usage, "not enough tokens for a row", at: name, expected: "rows of at least 2 tokens, a file of one row", found: "\(stream.count) tokens, rows of \(length)")
        }
        let rows = (0..<stream.count / body).map { (bos.map { [$0] } ?? []) + stream[$0 * body..<($0 + 1) * body] }
        try self.init(rows: rows, vocabularySize: vocabularySize, heldOut: heldOut, seed: seed, name: name)
    }

    private init(rows: [[Int]], vocabularySize: Int, heldOut: Double, seed: UInt64, name: String) throws {
        guard (0..<1).contains(heldOut) else { throw LensError(.usage, "the share held out is out of range", expected: "0 to below 1", found: "\(heldOut)") }
        let wanted = Int(Double(rows.count) * heldOut)
        // Every n-th, so that no end of the file is missing in training.
        let held = Set((0..<wanted).map { ($0 * rows.count + rows.count / 2) / max(1, wanted) })
        try self.init(training: rows.indices.filter { !held.contains($0) }.map { rows[$0] }, heldOut: held.sorted().map { rows[$0] },
                      vocabularySize: vocabularySize, seed: seed, name: name)
    }

    private static func json(_ path: String) throws -> [[Int]] {
        func refused() -> LensError { LensError(.format, "not a list of tokens", at: path, expected: "[1, 2, …] or [[1, 2, …], …]") }
        func numbers(_ list: [JSON]) throws -> [Int] {
            try list.map { item in
                guard let token = item.intValue, token >= 0 else { throw refused() }
                return token
            }
        }
        guard let list = try JSON.parse(file: path, limit: 1 << 32).arrayValue, let first = list.first else { throw refused() }
        if first.arrayValue == nil { return [try numbers(list)] }
        return try list.map { row in
            guard let row = row.arrayValue else { throw refused() }
            return try numbers(row)
        }
    }

    private static func numpy(_ path: String) throws -> [[Int]] {
        let file = try NumPyFile(npy: path)
        guard let name = file.names.first else { throw LensError(.format, "an empty file", at: path) }
        let entry = try file.requireEntry(name)
        guard (1...2).contains(entry.shape.count) else { throw LensError(.format, "not tokens", at: path, expected: "one or two axes", found: "\(entry.shape)") }
        let bytes = try file.bytes(of: name)
        func read<T: FixedWidthInteger>(_: T.Type) throws -> [Int] {
            try bytes.withUnsafeBytes { raw in
                try (0..<entry.elementCount).map { index in
                    guard let token = Int(exactly: raw.loadUnaligned(fromByteOffset: index * MemoryLayout<T>.size, as: T.self)), token >= 0 else {
                        throw LensError(.format, "not a token", at: "\(path): element \(index)", expected: "a number from 0")
                    }
                    return token
                }
            }
        }
        let values: [Int]
        switch entry.dtype {
        case .i64: values = try read(Int64.self)
        case .i32: values = try read(Int32.self)
        case .i16: values = try read(Int16.self)
        case .u8: values = try read(UInt8.self)
        case .u16: values = try read(UInt16.self)
        case .u32: values = try read(UInt32.self)
        case .u64: values = try read(UInt64.self)
        default: throw LensError(.format, "not tokens", at: path, expected: "integers", found: entry.dtype.rawValue)
        }
        guard entry.shape.count == 2, let width = entry.shape.last, width > 0 else { return [values] }
        return stride(from: 0, to: values.count, by: width).map { Array(values[$0..<$0 + width]) }
    }
}

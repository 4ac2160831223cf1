// What an analysis writes with --out: tensors and the labels of their axes, as `LabelledTensor` writes them.

import ArgumentParser
import TransformerLens

/// Where an analysis' numbers go.
struct OutFileOption: ParsableArguments {
    @Option(help: ArgumentHelp("Write the numbers with their labels: a .safetensors or .npz file.", valueName: "file"))
    var out: String?

    func validate() throws {
        if let out, !out.hasSuffix(".safetensors"), !out.hasSuffix(".npz") {
            throw ValidationError("--out takes a name ending in .safetensors or .npz, not '\(out)'")
        }
    }

    /// Writes tensors, if a file was asked for.
    /// - Throws: `LensError(.file)` if it cannot be written; an older file is then left as it was.
    func write(_ tensors: [LabelledTensor]) throws {
        if let out { try LabelledTensor.write(tensors, to: out) }
    }
}

/// `["L0", "L1", …]`
func numbered(_ prefix: String, _ count: Int) -> [String] { (0..<count).map { "\(prefix)\($0)" } }

/// A tensor of two axes as JSON: rows of numbers.
func jsonRows(_ tensor: Tensor) -> JSON {
    let width = tensor.shape.last ?? 1, values = tensor.array
    guard tensor.rank == 2 else { return .array(values.map { .double(Double($0)) }) }
    return .array((0..<tensor.shape[0]).map { row in .array(values[row * width..<(row + 1) * width].map { .double(Double($0)) }) })
}

/// A head given as `L3H7` or `3.7`.
func headIndex(_ text: String) throws -> HeadIndex {
    let (layer, head) = try layerAndNumber(text, letter: "H", kind: "a head")
    return HeadIndex(layer, head)
}

/// A neuron given as `L3N712` or `3.712`.
func neuronIndex(_ text: String) throws -> NeuronIndex {
    let (layer, neuron) = try layerAndNumber(text, letter: "N", kind: "a neuron")
    return NeuronIndex(layer, neuron)
}

private func layerAndNumber(_ text: String, letter: Character, kind: String) throws -> (Int, Int) {
    let upper = text.uppercased()
    let parts = upper.first == "L" ? upper.dropFirst().split(separator: letter, omittingEmptySubsequences: false)
        : upper.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, let layer = Int(parts[0]), let number = Int(parts[1]), layer >= 0, number >= 0 else {
        throw ValidationError("'\(text)' is not \(kind): give it as L3\(letter)7 or 3.7")
    }
    return (layer, number)
}

extension HookedTransformer {
    /// The token texts begin with, where the family's rule or the caller says so.
    func bosToken(_ choice: Bool?) -> Int? {
        guard choice ?? config.defaultPrependBOS else { return nil }
        return tokenizer.flatMap { $0.bosID ?? $0.eosID }
    }

    /// Tokens that stand for no text of their own: special ones, and the bytes that text without tokens falls back on.
    var tokensWithoutText: Set<Int> {
        guard let tokenizer else { return [] }
        let bytes = (0..<min(config.dVocab, tokenizer.vocabularySize)).filter { id in
            tokenizer.token(for: id).map { $0.hasPrefix("<0x") && $0.hasSuffix(">") && $0.utf8.count == 6 } ?? false
        }
        return Set([tokenizer.bosID, tokenizer.eosID, tokenizer.padID, tokenizer.unkID].compactMap(\.self) + bytes)
    }

    /// A token as a table shows it.
    func shown(_ token: Int) throws -> String { tokenizer == nil ? "\(token)" : quoted(try decoded([token])) }

    /// An answer given as a text of one token, or as `#id`.
    func outputToken(_ text: String) throws -> Int {
        guard text.hasPrefix("#"), let id = Int(text.dropFirst()) else { return try toSingleToken(text) }
        guard (0..<config.dVocabOut).contains(id) else {
            throw LensError(.usage, "token out of range", expected: "0..<\(config.dVocabOut)", found: "\(id)")
        }
        return id
    }

    /// The text of each token where it stands: what it adds to the text before it, so that the spaces are there which a token
    /// decoded alone loses.
    func texts(of tokens: ArraySlice<Int>, after before: ArraySlice<Int>) throws -> [String] {
        var so = try decoded(Array(before)), texts: [String] = []
        for end in tokens.indices {
            let all = try decoded(Array(before + tokens[tokens.startIndex...end]))
            // A character of several tokens has its text with the last of them.
            texts.append(all.hasPrefix(so) ? String(all.dropFirst(so.count)) : try decoded([tokens[end]]))
            so = all
        }
        return texts
    }
}

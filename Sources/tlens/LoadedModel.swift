// A model of any kind, for the commands that run all of them; and what is said about the decoder of one that has an encoder.

import ArgumentParser
import TransformerLens

/// A model by the type that runs it.
enum LoadedModel {
    case decoder(HookedTransformer)
    case encoder(HookedEncoder)
    case encoderDecoder(HookedEncoderDecoder)

    /// What all of them are.
    var any: any HookedModel {
        switch self {
        case .decoder(let model): model
        case .encoder(let model): model
        case .encoderDecoder(let model): model
        }
    }
}

extension ModelOptions {
    /// Loads a model of any kind, having set the threads.
    func open(_ output: OutputOptions) throws -> LoadedModel {
        let progress = Progress(output)
        let (path, options) = try place(progress)
        let kind = try ModelFolder(path: path, options: options).config.kind
        if kind == .decoder { return .decoder(try load(output)) }
        if let threads { Kernels.threads = threads }
        progress.show("loading \(model) …")
        defer { progress.clear() }
        return kind == .encoder ? .encoder(try HookedEncoder(folder: path, options: options))
            : .encoderDecoder(try HookedEncoderDecoder(folder: path, options: options))
    }
}

/// How the decoder's text begins, in a model that reads one text and writes another.
struct DecoderOptions: ParsableArguments {
    @Option(name: .customLong("decoder-tokens"), parsing: .unconditionalSingleValue,
            help: ArgumentHelp("Of an encoder-decoder: the decoder's tokens, as 0,1,2, taken as they are. Once for all rows, or once for each. (default: the start token)",
                               valueName: "ids"))
    var tokens: [String] = []

    @Option(name: .customLong("decoder-prompt"), parsing: .unconditionalSingleValue,
            help: ArgumentHelp("Of an encoder-decoder: the decoder's text, after the start token. Once for all rows, or once for each.", valueName: "text"))
    var prompts: [String] = []

    func validate() throws {
        if !tokens.isEmpty, !prompts.isEmpty { throw ValidationError("give only one of --decoder-tokens and --decoder-prompt") }
        for list in tokens { _ = try tokenList(list) }
    }

    /// - Throws: `LensError(.usage)` if anything was given.
    func refuse(for kind: String) throws {
        guard tokens.isEmpty, prompts.isEmpty else {
            throw LensError(.usage, "only an encoder-decoder has a decoder's input", found: "\(tokens.isEmpty ? "--decoder-prompt" : "--decoder-tokens") for \(kind)")
        }
    }

    /// Rows of the decoder's tokens, `count` of them.
    func rows(_ model: HookedEncoderDecoder, count: Int) throws -> [[Int]] {
        let rows: [[Int]]
        if !tokens.isEmpty {
            rows = try tokens.map(tokenList)
        } else {
            rows = try model.decoderRows(prompts.isEmpty ? nil : prompts, batch: count)
        }
        if rows.count == 1 { return Array(repeating: rows[0], count: count) }
        guard rows.count == count else {
            throw LensError(.usage, "another number of decoder rows than of rows to encode", expected: "1 or \(count)", found: "\(rows.count)")
        }
        return rows
    }
}

extension InputOptions {
    /// What was given, texts or tokens.
    func given() throws -> ModelInputKind {
        if !tokens.isEmpty { return .tokens(try tokens.map(tokenList)) }
        if let tokensFile { return .tokens(try Self.rows(of: tokensFile)) }
        return .texts(try promptsFile.map(Self.lines) ?? prompts)
    }

    /// Whether text gets the tokenizer's special tokens: the only thing an encoder knows about beginnings.
    var addsSpecialTokens: Bool { !bos.none }
}

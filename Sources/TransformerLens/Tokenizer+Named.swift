// The tokenizer of another repository: models that were trained in TransformerLens (Redwood's, Neel Nanda's) have none beside
// their weights, but a `tokenizer_name` in their configuration.

import LensFiles
import LensHub
import LensModel
import LensText
import LensZoo

extension Tokenizer {
    /// The tokenizer of the repository that a configuration names, if any.
    /// - Parameter hub: downloads it where the hub's cache does not have it; nil: nothing is downloaded.
    /// - Returns: nil too where it cannot be had: a model runs on tokens without it, and text is refused by its name.
    /// - Throws: `LensError` if it is there and cannot be read.
    static func named(in config: ModelConfig, _ hub: Hub?) throws -> Tokenizer? {
        guard let name = config.tokenizerName else { return nil }
        let folder: String?
        do {
            folder = try hub == nil ? ModelLocator.repository(named: name, where: isPresent)?.folder : hub?.blockingTokenizer(named: name, where: isPresent)
        } catch let error as LensError where error.kind == .file {
            return nil
        }
        return try folder.flatMap { isPresent(in: $0) ? try Tokenizer(folder: $0) : nil }
    }

    /// The same for a model that has no tokenizer beside it.
    package static func named(in path: String, _ options: LoadOptions, _ hub: Hub?) throws -> Tokenizer? {
        guard try beside(ModelFolder.ggufFile(path) ?? path) == nil else { return nil }
        return try named(in: ModelFolder(path: path, options: options).config, hub)
    }
}

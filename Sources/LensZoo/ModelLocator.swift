// From what a user calls a model to a folder: a path, or a name found in the hub's local cache
// ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub), where Python's downloads are. Nothing is downloaded here: LensHub does.

import LensFiles

/// Finds models on this machine.
public enum ModelLocator {
    /// The folder of a model, or its file.
    /// - Parameter name: a folder with a `config.json`, a `.gguf` file, a file of weights (with its configuration beside it or
    ///   named apart), a registered name or alias, or a hub id `org/name[@revision]`.
    /// - Throws: `LensError`: `.file` for a folder without a model, `.name` for a name that is nowhere.
    public static func folder(of name: String) throws -> String {
        if isFolder(name) {
            guard ModelFolder.isModel(name) else {
                throw LensError(.file, "no model in this folder", at: name, expected: "a config.json and model.safetensors")
            }
            return name
        }
        if fileExists(name) {
            guard ModelFolder.isModelFile(name) else {
                throw LensError(.file, "not a model folder or file", at: name,
                                expected: "a folder with config.json and weights, a .gguf file, or a file of weights (.safetensors, .pt, …)")
            }
            return name
        }
        if let shipped = shipped(name) { return shipped }
        let (hubID, revision) = try hubName(name)
        if let folder = try snapshot(of: hubID, revision, in: cacheFolder) { return folder }
        throw LensError(.file, "model not on this machine", at: hubID, expected: "a snapshot in \(cacheFolder)",
                        advice: "download it there (huggingface-cli download \(hubID)), or name a folder with its files")
    }

    /// Where a model is.
    public enum Place: Sendable, Hashable {
        /// A folder or file on this machine.
        case here(String)
        /// Not here, or not whole: `partial` is what the cache has of it.
        case onHub(id: String, revision: String, partial: String?)
    }

    /// Where a model is, by the names `folder(of:)` takes.
    /// - Parameters:
    ///   - revision: a branch, tag or commit; nil: what `name` says after `@`, else `main`.
    ///   - cache: the hub's cache folder.
    public static func find(_ name: String, revision: String? = nil, cache: String = cacheFolder) throws -> Place {
        if fileExists(name) { return .here(try folder(of: name)) }
        if let shipped = shipped(name) { return .here(shipped) }
        let (id, named) = try hubName(name)
        let revision = revision ?? named
        guard isRevision(revision) else { throw notARevision(revision) }
        let folder = try snapshot(of: id, revision, in: cache)
        if let folder, hasWeights(folder) { return .here(folder) }
        return .onHub(id: id, revision: revision, partial: folder)
    }

    /// The folder of a model that is part of the program.
    private static func shipped(_ name: String) -> String? {
        ShippedFiles.folders.contains(name) ? ShippedFiles.prefix + name : nil
    }

    /// The hub's id and the revision of a name.
    private static func hubName(_ name: String) throws -> (id: String, revision: String) {
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let registered = RegisteredModel.named(parts[0]), id = registered?.hubID ?? parts[0]
        guard isHubID(id), registered != nil || id.contains("/") else { throw unknown(name) }
        return (id, parts.count > 1 ? parts[1] : "main")
    }

    /// Whether a snapshot holds the weights of a model, every shard of them.
    private static func hasWeights(_ folder: String) -> Bool {
        if ["model.safetensors", "pytorch_model.bin", "model_final.pth", "final.pth"].contains(where: { fileExists("\(folder)/\($0)") }) { return true }
        if fileNames(in: folder).contains(where: { $0.hasSuffix(".gguf") }) { return true }
        return ["model.safetensors.index.json", "pytorch_model.bin.index.json"].contains { index in
            guard let json = try? JSON.parse(file: "\(folder)/\(index)"), let map = json["weight_map"]?.objectValue else { return false }
            let shards = Set(map.values.compactMap(\.stringValue))
            return !shards.isEmpty && shards.allSatisfy { fileExists("\(folder)/\($0)") }
        }
    }

    /// `org/name` or `name`, with nothing that could leave the cache's folder.
    private static func isHubID(_ id: String) -> Bool {
        let parts = id.split(separator: "/", omittingEmptySubsequences: false)
        return (1...2).contains(parts.count) && parts.allSatisfy(isPlainName)
    }

    private static func isPlainName(_ part: some StringProtocol) -> Bool {
        !part.isEmpty && part.first != "." && part.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || [UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ".")].contains(byte)
        }
    }

    /// A branch, a tag or a commit; `refs/pr/1` too.
    private static func isRevision(_ name: String) -> Bool {
        name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy(isPlainName)
    }

    private static func notARevision(_ name: String) -> LensError {
        LensError(.name, "not a revision", at: name, expected: "a branch, a tag or a commit")
    }

    /// The snapshot in the cache of a repository that another's configuration names: a tokenizer's, say.
    /// - Parameters:
    ///   - name: a hub id, or a registered name.
    ///   - isWanted: whether a folder holds what is looked for.
    /// - Returns: the repository's id, and the folder if there is one; nil for what is no hub id.
    package static func repository(named name: String, cache: String = cacheFolder, where isWanted: (String) -> Bool) throws -> (id: String, folder: String?)? {
        let id = RegisteredModel.named(name)?.hubID ?? name
        guard isHubID(id) else { return nil }
        return (id, try snapshot(of: id, "main", in: cache, where: isWanted))
    }

    /// The folder of a snapshot in the cache that has a configuration.
    private static func snapshot(of hubID: String, _ revision: String, in cache: String,
                                 where isWanted: (String) -> Bool = ModelFolder.isModel) throws -> String? {
        guard isRevision(revision) else { throw notARevision(revision) }
        for id in [hubID] + (RegisteredModel.named(hubID)?.formerIDs ?? []) {
            let repository = "\(cache)/models--\(id.split(separator: "/").joined(separator: "--"))"
            var commit = revision
            if fileExists("\(repository)/refs/\(revision)") {
                let bytes = try DataFile(path: "\(repository)/refs/\(revision)").readAll(limit: 1024)
                commit = String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
            }
            let folder = "\(repository)/snapshots/\(commit)"
            if isPlainName(commit), isWanted(folder) { return folder }
        }
        return nil
    }

    /// The hub's cache on this machine.
    public static var cacheFolder: String {
        if let cache = environmentVariable("HF_HUB_CACHE") ?? environmentVariable("HUGGINGFACE_HUB_CACHE") { return cache }
        if let home = environmentVariable("HF_HOME") { return home + "/hub" }
        if let cache = environmentVariable("XDG_CACHE_HOME") { return cache + "/huggingface/hub" }
        return (environmentVariable("HOME") ?? ".") + "/.cache/huggingface/hub"
    }

    private static func unknown(_ name: String) -> LensError {
        let known = ShippedFiles.folders + RegisteredModel.all.flatMap { $0.aliases + [$0.hubID] }
        return LensError(.name, "unknown model", at: name, expected: "a registered name, a hub id org/name, a folder with config.json, or a file",
                         advice: nearestName(to: name, among: known).map { "did you mean \($0)?" } ?? "`tlens models` lists the names")
    }
}

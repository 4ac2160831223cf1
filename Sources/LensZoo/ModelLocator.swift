// From what a user calls a model to a folder: a path, or a name found in the hub's local cache
// ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub), where Python's downloads are. Nothing is downloaded here.

import LensFiles

/// Finds models on this machine.
public enum ModelLocator {
    /// The folder of a model, or its file.
    /// - Parameter name: a folder with a `config.json`, a `.gguf` file, a file of weights (with its configuration beside it or
    ///   named apart), a registered name or alias, or a hub id `org/name[@revision]`.
    /// - Throws: `LensError`: `.file` for a folder without a model, `.name` for a name that is nowhere.
    public static func folder(of name: String) throws -> String {
        if isFolder(name) {
            guard ModelFolder.hasConfig(name) else {
                throw LensError(.file, "no model in this folder", at: name, expected: "a config.json and model.safetensors")
            }
            return name
        }
        if fileExists(name) { return name }
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let hubID = RegisteredModel.named(parts[0])?.hubID ?? parts[0]
        guard isHubID(hubID), RegisteredModel.named(parts[0]) != nil || hubID.contains("/") else { throw unknown(name) }
        return try cached(hubID, revision: parts.count > 1 ? parts[1] : "main")
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

    private static func cached(_ hubID: String, revision: String) throws -> String {
        guard isPlainName(revision) else {
            throw LensError(.name, "not a revision", at: revision, expected: "a branch, a tag or a commit")
        }
        for id in [hubID] + (RegisteredModel.named(hubID)?.formerIDs ?? []) {
            let repository = "\(cacheFolder)/models--\(id.split(separator: "/").joined(separator: "--"))"
            var commit = revision
            if fileExists("\(repository)/refs/\(revision)") {
                let bytes = try DataFile(path: "\(repository)/refs/\(revision)").readAll(limit: 1024)
                commit = String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
            }
            let folder = "\(repository)/snapshots/\(commit)"
            if isPlainName(commit), fileExists("\(folder)/config.json") { return folder }
        }
        throw LensError(.file, "model not on this machine", at: hubID, expected: "a snapshot in \(cacheFolder)",
                        advice: "download it there (huggingface-cli download \(hubID)), or name a folder with its files")
    }

    private static var cacheFolder: String {
        if let cache = environmentVariable("HF_HUB_CACHE") ?? environmentVariable("HUGGINGFACE_HUB_CACHE") { return cache }
        if let home = environmentVariable("HF_HOME") { return home + "/hub" }
        if let cache = environmentVariable("XDG_CACHE_HOME") { return cache + "/huggingface/hub" }
        return (environmentVariable("HOME") ?? ".") + "/.cache/huggingface/hub"
    }

    private static func unknown(_ name: String) -> LensError {
        let known = RegisteredModel.all.flatMap { $0.aliases + [$0.hubID] }
        return LensError(.name, "unknown model", at: name, expected: "a registered name, a hub id org/name, a folder with config.json, or a file",
                         advice: nearestName(to: name, among: known).map { "did you mean \($0)?" } ?? "`tlens models` lists the names")
    }
}

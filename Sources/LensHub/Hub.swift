// The hub's client: which files of a repository a model needs, and those files in the hub's own cache. What Python has
// downloaded is found, and the other way round.

import LensFiles
import LensZoo

/// How far a download is.
public struct HubProgress: Sendable, Hashable {
    /// The file that is coming.
    public var file: String
    /// Bytes of all files so far, and in all (of the files whose size is known yet).
    public var bytes: Int
    public var total: Int
    public var filesDone: Int
    public var files: Int
}

/// Models on the hub.
public struct Hub: Sendable {
    public let settings: HubSettings

    public init(_ settings: HubSettings) { self.settings = settings }

    /// With what the environment says.
    public init() throws { settings = try .environment() }

    /// The folder of a model: on this machine already, or downloaded now.
    ///
    /// - Parameters:
    ///   - name: as `ModelLocator` takes it.
    ///   - revision: a branch, tag or commit; nil: what `name` says after `@`, else `main`.
    ///   - progress: told a few times a second.
    /// - Throws: `LensError`: what `ModelLocator` throws, `.file` without a network or for what the server refuses,
    ///   `.cancelled`.
    public func folder(of name: String, revision: String? = nil,
                       progress: @escaping @Sendable (HubProgress) -> Void = { _ in }) async throws -> String {
        let hub = self
        return try await Self.offPool { isCancelled in
            try hub.blockingFolder(of: name, revision: revision, isCancelled: isCancelled, progress: progress)
        }
    }

    /// The same on the calling thread.
    package func blockingFolder(of name: String, revision: String? = nil, isCancelled: @escaping () -> Bool = { false },
                                progress: @escaping (HubProgress) -> Void = { _ in }) throws -> String {
        switch try ModelLocator.find(name, revision: revision, cache: settings.cache) {
        case .here(let path): return path
        // What is there may be all that is wanted: a tokenizer, say.
        case .onHub(_, _, let partial?) where settings.isOffline: return partial
        case .onHub(let id, let revision, _):
            try checkOnline(id)
            return try HubDownload(id, revision: revision, settings: settings, isCancelled: isCancelled, progress: progress).run(files: nil)
        }
    }

    /// The tokenizer's files of a repository that a model's configuration names (`tokenizer_name`), on the calling thread.
    /// - Parameter isWanted: whether a folder has a tokenizer.
    /// - Returns: a snapshot's folder; nil if it is not in the cache and nothing is to be downloaded, or for what is no hub id.
    package func blockingTokenizer(named name: String, where isWanted: (String) -> Bool, isCancelled: @escaping () -> Bool = { false },
                                   progress: @escaping (HubProgress) -> Void = { _ in }) throws -> String? {
        guard let (id, folder) = try ModelLocator.repository(named: name, cache: settings.cache, where: isWanted) else { return nil }
        if let folder { return folder }
        if settings.isOffline { return nil }
        let download = HubDownload(id, revision: "main", settings: settings, isCancelled: isCancelled, progress: progress)
        return try download.run(files: SnapshotFiles.described)
    }

    /// The model at a checkpoint of its training, on the calling thread.
    /// - Returns: a folder, or a file of weights whose `config.json` is in `folder`.
    package func blockingCheckpoint(_ checkpoint: TrainingCheckpoint, of name: String, isCancelled: @escaping () -> Bool = { false },
                                    progress: @escaping (HubProgress) -> Void = { _ in }) throws -> (path: String, config: String?) {
        guard let model = RegisteredModel.named(name), let checkpoints = model.checkpoints else {
            throw LensError(.usage, "a model without checkpoints of its training", at: name,
                            expected: "a registered Pythia, Stanford CRFM or NeelNanda model")
        }
        switch checkpoints {
        case .revisions(let prefix, let steps):
            let revision = "\(prefix)\(try model.value(of: checkpoint, among: steps))"
            return (try blockingFolder(of: name, revision: revision, isCancelled: isCancelled, progress: progress), nil)
        case .files:
            try checkOnline(model.hubID)
            let download = HubDownload(model.hubID, revision: "main", settings: settings, isCancelled: isCancelled, progress: progress)
            var chosen = ""
            let folder = try download.run { files in
                let valued = files.compactMap { file in SnapshotFiles.checkpointValue(file).map { (value: $0, file: file) } }.sorted { $0 < $1 }
                let value = try model.value(of: checkpoint, among: valued.map(\.value))
                chosen = valued.first { $0.value == value }?.file ?? ""
                return ["config.json", chosen]
            }
            return ("\(folder)/\(chosen)", "\(folder)/config.json")
        }
    }

    private func checkOnline(_ id: String) throws {
        guard !settings.isOffline else {
            throw LensError(.file, "model not on this machine", at: id, expected: "a snapshot in \(settings.cache)",
                            advice: "unset HF_HUB_OFFLINE to download it, or name a folder with its files")
        }
    }

    /// Downloads what is missing of a model's snapshot.
    ///
    /// - Parameters:
    ///   - id: `org/name`.
    ///   - files: which files (globs; `*` crosses no folder); nil: configuration, tokenizer and weights, safetensors if there are any.
    /// - Returns: the snapshot's folder.
    public func download(_ id: String, revision: String = "main", files: [String]? = nil,
                         progress: @escaping @Sendable (HubProgress) -> Void = { _ in }) async throws -> String {
        try checkOnline(id)
        let settings = settings
        return try await Self.offPool { isCancelled in
            try HubDownload(id, revision: revision, settings: settings, isCancelled: isCancelled, progress: progress).run(files: files)
        }
    }
}

// Where the hub is, where its files go and who asks: what Hugging Face's own client reads from the environment.

import LensFiles
import LensZoo

/// How to reach the hub.
public struct HubSettings: Sendable {
    /// `HF_ENDPOINT`; https://huggingface.co.
    public var endpoint = "https://huggingface.co"
    /// `HF_TOKEN`, or the file that `huggingface-cli login` writes.
    public var token: String?
    /// `HF_HUB_CACHE`, `HF_HOME`/hub, ~/.cache/huggingface/hub.
    public var cache: String
    /// `HF_HUB_OFFLINE`: nothing is asked of the network.
    public var isOffline = false
    /// Seconds to wait for a connection.
    public var connectTimeout = 10
    /// Seconds without a byte after which a connection counts as cut.
    public var stallTimeout = 30
    /// Tries of one request that brings nothing; one that brings bytes before it is cut does not count.
    public var attempts = 5
    /// Seconds before the second try; each later one waits twice as long.
    public var firstWait = 0.5

    public init(cache: String) { self.cache = cache }

    /// What the environment says.
    /// - Throws: `LensError(.usage)` for an endpoint that is no address, `(.file)` for a token file that cannot be read.
    public static func environment() throws -> HubSettings {
        var settings = HubSettings(cache: ModelLocator.cacheFolder)
        if let endpoint = environmentVariable("HF_ENDPOINT") {
            guard endpoint.hasPrefix("https://") || endpoint.hasPrefix("http://") else {
                throw LensError(.usage, "not an address", at: "HF_ENDPOINT", expected: "https://…", found: endpoint)
            }
            settings.endpoint = endpoint
            while settings.endpoint.hasSuffix("/") { settings.endpoint.removeLast() }
        }
        settings.isOffline = isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE")
        if let seconds = environmentVariable("HF_HUB_DOWNLOAD_TIMEOUT").flatMap({ Int($0) }), seconds > 0 {
            settings.connectTimeout = seconds
            settings.stallTimeout = max(seconds, 1)
        }
        settings.token = try token()
        return settings
    }

    private static func isTrue(_ name: String) -> Bool {
        ["1", "ON", "YES", "TRUE"].contains(environmentVariable(name)?.uppercased() ?? "")
    }

    private static func token() throws -> String? {
        func trimmed(_ text: String) -> String? {
            let kept = text.filter { !$0.isWhitespace }
            return kept.isEmpty ? nil : kept
        }
        if let token = environmentVariable("HF_TOKEN") ?? environmentVariable("HUGGING_FACE_HUB_TOKEN") { return trimmed(token) }
        let home = environmentVariable("HF_HOME") ?? environmentVariable("XDG_CACHE_HOME").map { $0 + "/huggingface" }
            ?? (environmentVariable("HOME") ?? ".") + "/.cache/huggingface"
        let path = environmentVariable("HF_TOKEN_PATH") ?? home + "/token"
        guard fileExists(path) else { return nil }
        return trimmed(String(decoding: try DataFile(path: path).readAll(limit: 4096), as: UTF8.self))
    }
}

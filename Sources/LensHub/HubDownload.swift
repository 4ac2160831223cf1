// One download: the list of files, then each file that is not there yet, resumed where an earlier try was cut, checked against
// its hash, and linked into the snapshot. Blocking; `Hub` runs it off the pool.

import LensFiles

final class HubDownload {
    private let id: String
    private let revision: String
    private let settings: HubSettings
    private let repository: HubRepository
    let isCancelled: () -> Bool
    private let report: (HubProgress) -> Void
    private var progress = HubProgress(file: "", bytes: 0, total: 0, filesDone: 0, files: 0)
    private var lastReport: ContinuousClock.Instant?

    init(_ id: String, revision: String, settings: HubSettings, isCancelled: @escaping () -> Bool,
         progress: @escaping (HubProgress) -> Void) {
        self.id = id
        self.revision = revision
        self.settings = settings
        repository = HubRepository(id, cache: settings.cache)
        self.isCancelled = isCancelled
        report = progress
    }

    /// - Parameter files: which files; nil: those that make a model.
    /// - Returns: the snapshot's folder.
    func run(files wanted: [String]?) throws -> String {
        try run { all in try SnapshotFiles.chosen(from: all, wanted: wanted, at: self.id) }
    }

    /// - Parameter choose: the files to download out of those there are.
    func run(_ choose: ([String]) throws -> [String]) throws -> String {
        let (commit, all) = try listing()
        let chosen = try choose(all)
        try repository.makeFolders(commit: commit)
        let missing = chosen.filter { !fileExists("\(repository.snapshot(commit))/\($0)") }
        progress.files = missing.count
        let details = try missing.map { (file: $0, about: try self.details(of: $0, commit: commit)) }
        progress.total = details.reduce(0) { $0 + ($1.about.size ?? 0) }
        // Small files first: a model that cannot be read is noticed before its weights come.
        for (file, about) in details.sorted(by: { ($0.about.size ?? 0) < ($1.about.size ?? 0) }) {
            try fetch(file, about, commit: commit)
            progress.filesDone += 1
            tell(file, now: true)
        }
        try repository.writeRef(revision, commit: commit)
        return repository.snapshot(commit)
    }

    // MARK: What there is

    /// The commit of the revision and its files.
    private func listing() throws -> (commit: String, files: [String]) {
        let url = "\(settings.endpoint)/api/models/\(id)/revision/\(escaped(revision))"
        var body: [UInt8] = []
        try request(url, redirects: 5) { answer, bytes in
            guard body.count + bytes.count <= 64 << 20 else {
                throw LensError(.file, "the hub's list of files is too long", at: url, expected: "at most 64 MB")
            }
            if answer.status < 300 { body.append(contentsOf: bytes) }
        } retried: { body = [] }
        let json = try JSON.parse(body, at: url)
        guard let commit = json["sha"]?.stringValue, (1...64).contains(commit.utf8.count), commit.utf8.allSatisfy(isHexadecimal) else {
            throw LensError(.format, "not the hub's answer", at: url, expected: "a commit under sha", found: json["sha"]?.summary ?? "nothing")
        }
        let siblings = try (json["siblings"] ?? .array([])).asArray(at: "siblings")
        return (commit, siblings.compactMap { $0["rfilename"]?.stringValue }.filter(HubRepository.isSafe))
    }

    /// What the hub says of a file before it is downloaded.
    private struct Details {
        let etag: String
        let size: Int?
        let url: String
    }

    private func details(of file: String, commit: String) throws -> Details {
        var url = "\(settings.endpoint)/\(id)/resolve/\(commit)/\(file.split(separator: "/").map { escaped(String($0)) }.joined(separator: "/"))"
        // A renamed repository answers with a relative redirect; the way to the contents is another host's, and has no etag of its own.
        for _ in 0..<5 {
            let answer = try request(url, headOnly: true, redirects: 0) { _, _ in }
            let etag = answer.headers["x-linked-etag"] ?? answer.headers["etag"]
            if (300..<400).contains(answer.status), let place = answer.headers["location"], place.hasPrefix("/") {
                url = settings.endpoint + place
                continue
            }
            guard let name = etag.map(plainETag), isSafeETag(name) else {
                throw LensError(.format, "the hub says no etag of a file", at: url, expected: "an ETag header", found: etag ?? "none")
            }
            let size = (answer.headers["x-linked-size"] ?? (answer.status < 300 ? answer.headers["content-length"] : nil)).flatMap { Int($0) }
            return Details(etag: name, size: size.flatMap { $0 >= 0 ? $0 : nil }, url: url)
        }
        throw LensError(.file, "the hub redirects in a circle", at: url)
    }

    // MARK: Contents

    private func fetch(_ file: String, _ about: Details, commit: String) throws {
        let blob = repository.blob(about.etag)
        try repository.locked(about.etag, isCancelled: isCancelled) {
            if !fileExists(blob) {
                let partial = try PartialFile(path: blob + ".incomplete")
                var isRetry = false
                while true {
                    try fill(partial, file, about)
                    if try Digest.matches(file: partial.path, etag: about.etag) { break }
                    try partial.restart()
                    guard !isRetry else {
                        throw LensError(.file, "a downloaded file is not what the hub says it is", at: "\(id): \(file)",
                                        expected: "hash \(about.etag)", advice: "try again; if it stays so, the file on the hub is damaged")
                    }
                    isRetry = true
                }
                try partial.move(to: blob)
            } else {
                progress.bytes += about.size ?? 0
            }
            try repository.link(file, etag: about.etag, commit: commit)
        }
    }

    /// Downloads the rest of a file, across as many cut connections as it takes while each brings something.
    private func fill(_ partial: PartialFile, _ file: String, _ about: Details) throws {
        if let size = about.size, partial.count > size { try partial.restart() }
        let before = progress.bytes
        if let size = about.size, partial.count == size, size > 0 {
            progress.bytes = before + size
            return
        }
        try request(about.url, redirects: 10, resuming: { partial.count }) { [self] answer, bytes in
            guard answer.status < 300 else { return }
            if answer.status != 206, partial.count > 0, !partial.isContinuing { try partial.restart() }
            partial.isContinuing = true
            if let size = about.size, partial.count + bytes.count > size {
                throw LensError(.file, "the server sends more than it said", at: "\(id): \(file)", expected: "\(size) bytes")
            }
            try partial.append(bytes)
            progress.bytes = before + partial.count
            tell(file)
        } retried: {
            partial.isContinuing = false
        }
        if let size = about.size, partial.count != size {
            throw LensError(.file, "a downloaded file is too short", at: "\(id): \(file)", expected: "\(size) bytes", found: "\(partial.count)")
        }
    }

    private func tell(_ file: String, now: Bool = false) {
        let time = ContinuousClock.now
        guard now || lastReport.map({ time - $0 > .milliseconds(200) }) ?? true else { return }
        lastReport = time
        progress.file = file
        report(progress)
    }

    // MARK: Requests

    /// A request, tried again while that can help.
    /// - Parameters:
    ///   - resuming: how many bytes are there already; asked before each try.
    ///   - retried: told before another try.
    @discardableResult
    private func request(_ url: String, headOnly: Bool = false, redirects: Int, resuming: () -> Int = { 0 },
                         onBody: @escaping (HTTPAnswer, UnsafeRawBufferPointer) throws -> Void,
                         retried: () -> Void = {}) throws -> HTTPAnswer {
        var failures = 0, wait = settings.firstWait
        while true {
            if isCancelled() { throw LensError(.cancelled, "the download was cancelled", at: url) }
            let held = resuming()
            var request = HTTPRequest(url: url, headers: ["User-Agent: swift-transformer-lens", "Accept-Encoding: identity"],
                                      headOnly: headOnly, redirects: redirects, connectTimeout: settings.connectTimeout,
                                      stallTimeout: settings.stallTimeout)
            if let token = settings.token { request.headers.append("Authorization: Bearer \(token)") }
            if held > 0 { request.headers.append("Range: bytes=\(held)-") }
            var reason = "", pause = wait, attempts = settings.attempts
            do {
                let answer = try request.perform(isCancelled: isCancelled, onBody: onBody)
                if answer.status < 400 { return answer }
                guard [408, 429, 500, 502, 503, 504].contains(answer.status) else { throw refusal(answer, url) }
                reason = "status \(answer.status)"
                if let seconds = answer.headers["retry-after"].flatMap({ Double($0) }), seconds >= 0 { pause = min(seconds, 60) }
            } catch HTTPFailure.cut(let message) {
                reason = message
                if resuming() > held { (failures, wait, pause) = (-1, settings.firstWait, settings.firstWait) }
            } catch HTTPFailure.unreachable(let message) {
                reason = message
                attempts = min(attempts, 2)
            }
            failures += 1
            guard failures < attempts else {
                throw LensError(.file, "the hub does not answer", at: url, found: reason,
                                advice: "check the network, or download the model by other means and name its folder")
            }
            try sleep(pause, url)
            wait = min(2 * wait, 8)
            retried()
        }
    }

    private func sleep(_ seconds: Double, _ url: String) throws {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            if isCancelled() { throw LensError(.cancelled, "the download was cancelled", at: url) }
            pauseThread(min(0.05, seconds))
        }
    }

    /// What a refusal means.
    private func refusal(_ answer: HTTPAnswer, _ url: String) -> LensError {
        let isLoggedIn = settings.token != nil
        let found = "status \(answer.status)" + (answer.headers["x-error-message"].map { ": \($0)" } ?? "")
        switch (answer.headers["x-error-code"], answer.status) {
        case ("RevisionNotFound", _):
            return LensError(.name, "no such revision", at: "\(id)@\(revision)", found: found, advice: "check the branch, tag or commit")
        case ("EntryNotFound", _): return LensError(.file, "no such file on the hub", at: url, found: found)
        case ("GatedRepo", _), (_, 403):
            return LensError(.file, "this model is only for those who accepted its terms", at: id, found: found,
                             advice: isLoggedIn ? "accept them on its page" : "accept them on its page and set HF_TOKEN")
        case (_, 401):
            // The hub says 401 for what is not there, too: it does not tell strangers what is private.
            return LensError(.name, "no such model on the hub, or a private one", at: id, found: found,
                             advice: isLoggedIn ? "check the name and what HF_TOKEN may read" : "check the name; for a private model set HF_TOKEN")
        case (_, 404): return LensError(.name, "no such model or revision on the hub", at: "\(id)@\(revision)", found: found, advice: "check the name")
        default: return LensError(.file, "the hub refuses", at: url, found: found)
        }
    }

    // MARK: Text

    private func escaped(_ part: String) -> String {
        var result = ""
        for byte in part.utf8 {
            let isPlain = (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || "-_.~".utf8.contains(byte)
            if isPlain {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.utf8.count < 2 ? "0" : "") + digits
            }
        }
        return result
    }

    private func plainETag(_ etag: String) -> String {
        let strong = etag.hasPrefix("W/") ? String(etag.dropFirst(2)) : etag
        return strong.filter { $0 != "\"" }
    }

    private func isSafeETag(_ etag: String) -> Bool {
        (1...128).contains(etag.utf8.count) && etag.utf8.first != UInt8(ascii: ".") && etag.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || "-_.".utf8.contains(byte)
        }
    }

    private func isHexadecimal(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (97...102).contains(byte) }
}

// One repository in the hub's cache folder, laid out as Hugging Face's own client lays it out, so that either finds what the
// other downloaded:
//
//     models--org--name/refs/main                  the commit that `main` was when last asked
//     models--org--name/blobs/ETAG                 contents; ETAG.incomplete while they come
//     models--org--name/snapshots/COMMIT/config.json -> ../../blobs/ETAG
//     .locks/models--org--name/ETAG.lock           held while a blob is written
//
// It refuses names from the network that could lead out of these folders.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif
import LensFiles

struct HubRepository {
    private let cache: String
    private let name: String
    var folder: String { "\(cache)/\(name)" }

    init(_ id: String, cache: String) {
        self.cache = cache
        name = "models--" + id.split(separator: "/").joined(separator: "--")
    }

    func blob(_ etag: String) -> String { "\(folder)/blobs/\(etag)" }
    func snapshot(_ commit: String) -> String { "\(folder)/snapshots/\(commit)" }

    /// Makes the folders that a download writes to.
    func makeFolders(commit: String) throws {
        for folder in [folder + "/blobs", folder + "/refs", snapshot(commit), "\(cache)/.locks/\(name)"] { try makeFolders(folder) }
    }

    private func makeFolders(_ path: String) throws {
        if isFolder(path) { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex { try makeFolders(String(path[..<slash])) }
        try makeFolder(path)
    }

    /// Writes which commit a branch or tag is.
    func writeRef(_ revision: String, commit: String) throws {
        guard revision != commit else { return }
        let path = "\(folder)/refs/\(revision)"
        if let slash = path.lastIndex(of: "/") { try makeFolders(String(path[..<slash])) }
        let file = try AtomicFileWriter(path: path)
        try file.write(Array(commit.utf8))
        try file.commit()
    }

    /// Makes `file` of a snapshot a link to the blob.
    func link(_ file: String, etag: String, commit: String) throws {
        let path = "\(snapshot(commit))/\(file)"
        if let slash = path.lastIndex(of: "/") { try makeFolders(String(path[..<slash])) }
        let depth = 2 + file.count { $0 == "/" }
        let target = String(repeating: "../", count: depth) + "blobs/\(etag)"
        let temporary = "\(path).\(String(UInt64.random(in: .min ... .max), radix: 16)).link"
        guard symlink(target, temporary) == 0, rename(temporary, path) == 0 else {
            let reason = String(cString: strerror(errno))
            unlink(temporary)
            throw LensError(.file, "cannot link a file of a snapshot", at: path, found: reason)
        }
    }

    /// Runs `body` while no other process writes the blob, as Hugging Face's client keeps others away (flock).
    func locked<R>(_ etag: String, isCancelled: () -> Bool, _ body: () throws -> R) throws -> R {
        let path = "\(cache)/.locks/\(name)/\(etag).lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o664)
        guard descriptor >= 0 else {
            throw LensError(.file, "cannot make a lock", at: path, found: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            // A file system without locks: go on, the contents are checked at the end.
            guard errno == EWOULDBLOCK || errno == EINTR else { break }
            if isCancelled() { throw LensError(.cancelled, "the download was cancelled", at: path) }
            usleep(50_000)
        }
        return try body()
    }

    /// Whether a file's name, from the network, stays within its snapshot.
    static func isSafe(_ file: String) -> Bool {
        let parts = file.split(separator: "/", omittingEmptySubsequences: false)
        return file.utf8.count < 1024 && !parts.isEmpty && parts.allSatisfy { part in
            !part.isEmpty && part != "." && part != ".." && !part.utf8.contains { $0 < 32 || $0 == UInt8(ascii: "\\") }
        }
    }
}

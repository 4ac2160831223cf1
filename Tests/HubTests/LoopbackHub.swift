// A hub on the loopback interface: real sockets, real HTTP. It serves files with ranges, cuts connections, answers with any
// status, redirects to another host's contents, and remembers what it was asked.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif
import Foundation
@testable import LensHub

/// A request as the server saw it.
struct SeenRequest: Sendable {
    let method: String
    let path: String
    let headers: [String: String]
    var rangeStart: Int? { headers["range"].flatMap { Int($0.dropFirst("bytes=".count).prefix { $0 != "-" }) } }
}

/// What to answer.
struct ServedAnswer: Sendable {
    var status = 200
    var headers: [String] = []
    var body: [UInt8] = []
    /// Close the connection after so many bytes of the body.
    var cutAfter: Int?
    /// Wait so many seconds before each 16 KB.
    var delay = 0.0
}

final class LoopbackServer: @unchecked Sendable {
    private let socketDescriptor: Int32
    let port: UInt16
    private let lock = NSLock()
    private var requests: [SeenRequest] = []
    private let answer: @Sendable (SeenRequest, Int) -> ServedAnswer

    var address: String { "http://127.0.0.1:\(port)" }
    var seen: [SeenRequest] { lock.withLock { requests } }

    /// - Parameter answer: told the request and how many requests for its path and method came before it.
    init(answer: @escaping @Sendable (SeenRequest, Int) -> ServedAnswer) throws {
        self.answer = answer
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        socketDescriptor = listening
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listening, pointer, length) == 0 && listen(listening, 16) == 0
                    && getsockname(listening, pointer, &length) == 0
            }
        }
        guard bound else { throw POSIXError(.EADDRNOTAVAIL) }
        port = UInt16(bigEndian: address.sin_port)
        signal(SIGPIPE, SIG_IGN)
        let thread = Thread { [weak self] in
            while true {
                let connection = accept(listening, nil, nil)
                guard connection >= 0 else {
                    // Closed here and only here: a number closed by another thread could be a new server's by now.
                    close(listening)
                    return
                }
                let serving = Thread { [weak self] in
                    self?.serve(connection)
                    close(connection)
                }
                serving.start()
            }
        }
        thread.start()
    }

    /// Wakes the thread that accepts, which then closes the socket.
    func stop() { shutdown(socketDescriptor, Int32(SHUT_RDWR)) }

    private func serve(_ connection: Int32) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !bytes.suffix(4).elementsEqual([13, 10, 13, 10]) {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0, bytes.count < 1 << 16 else { return }
            bytes += buffer[..<count]
        }
        let lines = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n")
        let first = lines[0].split(separator: " ")
        guard first.count == 3 else { return }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        let request = SeenRequest(method: String(first[0]), path: String(first[1]), headers: headers)
        let before = lock.withLock { () -> Int in
            defer { requests.append(request) }
            return requests.count { $0.path == request.path && $0.method == request.method }
        }
        send(answer(request, before), to: request, connection)
    }

    private func send(_ answer: ServedAnswer, to request: SeenRequest, _ connection: Int32) {
        var status = answer.status, body = answer.body[...], extra: [String] = []
        if status == 200, let start = request.rangeStart {
            guard start < body.count else {
                write("HTTP/1.1 416 Range\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", connection)
                return
            }
            extra = ["Content-Range: bytes \(start)-\(body.count - 1)/\(body.count)"]
            body = body[start...]
            status = 206
        }
        let head = ["HTTP/1.1 \(status) Status", "Content-Length: \(body.count)", "Connection: close"] + answer.headers + extra
        write(head.joined(separator: "\r\n") + "\r\n\r\n", connection)
        guard request.method == "GET" else { return }
        let sent = Array(body.prefix(answer.cutAfter ?? body.count))
        for start in stride(from: 0, to: sent.count, by: 16_384) {
            if answer.delay > 0 { usleep(UInt32(answer.delay * 1e6)) }
            let piece = Array(sent[start..<min(start + 16_384, sent.count)])
            guard write(piece, connection) else { return }
        }
    }

    private func write(_ text: String, _ connection: Int32) { _ = write(Array(text.utf8), connection) }

    private func write(_ bytes: [UInt8], _ connection: Int32) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc_send(connection, $0.baseAddress.map { $0 + offset }, bytes.count - offset) }
            guard count > 0 else { return false }
            offset += count
        }
        return true
    }
}

private func Glibc_send(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int { write(descriptor, bytes, count) }

/// A repository on a loopback server, as the hub serves one.
struct ServedRepository: Sendable {
    var id = "org/tiny"
    var commit = "0123456789abcdef0123456789abcdef01234567"
    var files: [String: [UInt8]]
    /// Files whose contents come from another host, as large ones do.
    var elsewhere: [String: String] = [:]

    func etag(_ file: String) -> String {
        let content = files[file] ?? []
        if elsewhere[file] != nil {
            var digest = Digest(.sha256)
            digest.update(content)
            return digest.hex()
        }
        var digest = Digest(.sha1)
        digest.update(Array("blob \(content.count)\0".utf8) + content)
        return digest.hex()
    }

    /// The hub's ordinary answer to a request; 404 for what is not there.
    func answer(_ request: SeenRequest) -> ServedAnswer {
        if request.path == "/api/models/\(id)/revision/main" || request.path == "/api/models/\(id)/revision/\(commit)" {
            let names = files.keys.sorted().map { "{\"rfilename\": \"\($0)\"}" }.joined(separator: ", ")
            return ServedAnswer(body: Array("{\"sha\": \"\(commit)\", \"siblings\": [\(names)]}".utf8))
        }
        let prefix = "/\(id)/resolve/\(commit)/"
        guard request.path.hasPrefix(prefix), let content = files[String(request.path.dropFirst(prefix.count))] else {
            return ServedAnswer(status: 404, headers: ["X-Error-Code: EntryNotFound"])
        }
        let file = String(request.path.dropFirst(prefix.count))
        guard let place = elsewhere[file] else {
            return ServedAnswer(headers: ["ETag: \"\(etag(file))\"", "X-Repo-Commit: \(commit)"], body: content)
        }
        return ServedAnswer(status: 302, headers: ["Location: \(place)/\(file)", "X-Linked-ETag: \"\(etag(file))\"",
                                                   "X-Linked-Size: \(content.count)", "X-Repo-Commit: \(commit)"])
    }
}

// One HTTP request, through libcurl (CLensHTTP), which is opened when the first one is made. Not URLSession: on Linux it costs
// every start of a static program 15 ms and thirty shared libraries; not AsyncHTTPClient: minutes of cold build.

import CLensHTTP
import LensFiles

/// A request.
struct HTTPRequest {
    var url: String
    /// `Name: value` lines.
    var headers: [String] = []
    var headOnly = false
    var redirects = 0
    var connectTimeout = 10
    var stallTimeout = 30
}

/// The answer's status and headers, those of the last response if there were redirects; names in lower case.
struct HTTPAnswer {
    var status = 0
    var headers: [String: String] = [:]
}

/// Why no whole answer came.
enum HTTPFailure: Error {
    case unreachable(String)
    case cut(String)
}

/// Who listens to a request: the C callbacks' context.
private final class HTTPListener {
    var answer = HTTPAnswer()
    var thrown: Error?
    let onBody: (HTTPAnswer, UnsafeRawBufferPointer) throws -> Void
    let isCancelled: () -> Bool

    init(onBody: @escaping (HTTPAnswer, UnsafeRawBufferPointer) throws -> Void, isCancelled: @escaping () -> Bool) {
        self.onBody = onBody
        self.isCancelled = isCancelled
    }

    func header(_ line: String) {
        if line.hasPrefix("HTTP/") {
            answer = HTTPAnswer(status: line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0)
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            answer.headers[line[..<colon].lowercased()] = String(value)
        }
    }

    func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
        do { try onBody(answer, bytes) } catch {
            thrown = error
            return false
        }
        return true
    }
}

extension HTTPRequest {
    /// Makes the request and blocks until it has ended.
    /// - Parameters:
    ///   - isCancelled: asked about once a second at least.
    ///   - onBody: told the body in pieces, with status and headers of the response they belong to.
    /// - Throws: `HTTPFailure` where no whole answer came; `LensError(.cancelled)`; `LensError(.machine)` without libcurl; what
    ///   `onBody` throws.
    func perform(isCancelled: @escaping () -> Bool = { false },
                 onBody: @escaping (HTTPAnswer, UnsafeRawBufferPointer) throws -> Void) throws -> HTTPAnswer {
        let listener = HTTPListener(onBody: onBody, isCancelled: isCancelled)
        let (end, message) = withCStrings(headers) { lines in
            url.withCString { address in perform(address, lines, listener) }
        }
        if let thrown = listener.thrown { throw thrown }
        switch end {
        case LENS_HTTP_ANSWERED: return listener.answer
        case LENS_HTTP_STOPPED: throw LensError(.cancelled, "the download was cancelled", at: url)
        case LENS_HTTP_UNREACHABLE: throw HTTPFailure.unreachable(message)
        case LENS_HTTP_CUT: throw HTTPFailure.cut(message)
        case LENS_HTTP_NO_LIBRARY:
            throw LensError(.machine, "libcurl is not on this machine", at: url, expected: "libcurl.so.4",
                            advice: "install it (apt install libcurl4), or download the model by other means and name its folder")
        case LENS_HTTP_UNTRUSTED: throw LensError(.file, "the server's certificate is not trusted", at: url, found: message)
        default: throw LensError(.file, "the request failed", at: url, found: message)
        }
    }

    private func perform(_ address: UnsafePointer<CChar>, _ lines: UnsafePointer<UnsafePointer<CChar>?>,
                         _ listener: HTTPListener) -> (lens_http_end, String) {
        var request = lens_http_request()
        request.url = address
        request.headers = lines
        request.header_count = headers.count
        request.head_only = headOnly ? 1 : 0
        request.redirects = redirects
        request.connect_timeout = connectTimeout
        request.stall_timeout = stallTimeout
        request.context = Unmanaged.passUnretained(listener).toOpaque()
        request.on_header = { context, line, length in
            guard let context, let line else { return }
            let bytes = UnsafeRawBufferPointer(start: line, count: length)
            Unmanaged<HTTPListener>.fromOpaque(context).takeUnretainedValue().header(String(decoding: bytes, as: UTF8.self))
        }
        request.on_body = { context, bytes, length in
            guard let context else { return 0 }
            let body = UnsafeRawBufferPointer(start: bytes, count: length)
            return Unmanaged<HTTPListener>.fromOpaque(context).takeUnretainedValue().body(body) ? 1 : 0
        }
        request.on_tick = { context in
            guard let context else { return 0 }
            return Unmanaged<HTTPListener>.fromOpaque(context).takeUnretainedValue().isCancelled() ? 0 : 1
        }
        var status = 0
        var message = [CChar](repeating: 0, count: 256)
        let end = withExtendedLifetime(listener) { lens_http_perform(&request, &status, &message, message.count) }
        return (end, String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    /// Calls `body` with strings that end with 0. What holds a zero byte or a line end is cut there: no header may bring another.
    private func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
        let buffers = strings.map { string in
            let bytes = Array(string.utf8.prefix { $0 != 0 && $0 != 10 && $0 != 13 }) + [0]
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            for (index, byte) in bytes.enumerated() { copy[index] = CChar(bitPattern: byte) }
            return copy
        }
        defer { buffers.forEach { $0.deallocate() } }
        var pointers: [UnsafePointer<CChar>?] = buffers.map { UnsafePointer($0) } + [nil]
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("empty list") }  // unreachable: it ends with nil
            return body(UnsafePointer(base))
        }
    }
}

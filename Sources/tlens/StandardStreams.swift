// The process's standard streams. stdout is written without a buffer, so that what cannot be written (a full disk, a closed
// descriptor) is an error and not silence. A reader that has gone away (`tlens models | head -1`) ends the process quietly,
// by the signal that the system sends for it.

import TransformerLens
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Occupies standard streams that the parent closed, so that no file we open becomes one of them: an output written into a
/// checkpoint would be the least of it. Writing to a stream closed by the parent stays an error.
func occupyStandardStreams() {
    for (descriptor, mode) in [(Int32(0), O_WRONLY), (1, O_RDONLY), (2, O_RDONLY)] where fcntl(descriptor, F_GETFD) == -1 {
        _ = open("/dev/null", mode)
    }
}

/// Text to stdout.
/// - Throws: `LensError(.file)` if it cannot be written.
func say(_ text: String, terminator: String = "\n") throws {
    let bytes = Array((text + terminator).utf8)
    try bytes.withUnsafeBytes { buffer in
        var done = 0
        while done < buffer.count {
            let count = write(1, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            if count >= 0 {
                done += count
            } else if errno == EAGAIN {
                var waiting = pollfd(fd: 1, events: Int16(POLLOUT), revents: 0)
                _ = poll(&waiting, 1, -1)
            } else if errno != EINTR {
                throw LensError(.file, "cannot write the output", at: "stdout", found: String(cString: strerror(errno)))
            }
        }
    }
}

/// A line on stderr that comes and goes; only on a terminal. It is cut, because one that wraps cannot be taken back.
struct Progress {
    private let isShown: Bool

    init(_ output: OutputOptions) { isShown = !output.quiet && !output.json && isatty(2) == 1 }

    func show(_ text: String) { if isShown { writeToStandardError("\r\u{1B}[2K\(escaped(text).prefix(70))") } }

    func clear() { if isShown { writeToStandardError("\r\u{1B}[2K") } }

    private func writeToStandardError(_ text: String) {
        let bytes = Array(text.utf8)
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }
}

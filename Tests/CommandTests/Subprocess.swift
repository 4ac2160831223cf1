// Running the built `tlens` as a person or a script would: its own process, its streams in files (nothing to deadlock on),
// a time limit. It is found beside the test bundle, where the build puts both.

import LensFiles
import Testing
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What a finished process left.
struct Finished {
    /// The exit code; nil if a signal ended it.
    let code: Int32?
    /// The signal that ended it.
    let signal: Int32?
    let out: String
    let err: String
    /// The most memory it had, in bytes, as far as it was seen; nil where the system does not say.
    let peakMemory: Int?

    /// Lines on stderr.
    var errorLines: [String] { err.split(separator: "\n").map(String.init) }
}

/// Where a process' stdout goes.
enum StandardOutput {
    case file
    /// A device or file that exists.
    case path(String)
    /// A pipe whose reader has gone.
    case brokenPipe
    /// Not open at all.
    case closed
}

/// The folder of the running test bundle, where the built executables are.
let productsFolder: String = {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let executable = count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : CommandLine.arguments[0]
    // `swift test` may run a bundle through a helper of the toolchain's: the bundle is then among the arguments.
    for path in [executable] + CommandLine.arguments {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        if fileExists(folder + "/tlens") { return folder }
    }
    return "."
}()

/// Runs `tlens` with `arguments`.
/// - Parameters:
///   - environment: variables set besides the test's own; nil removes one.
///   - seconds: after so long it is killed, which fails the test.
func tlens(_ arguments: [String], environment: [String: String?] = [:], stdout: StandardOutput = .file, seconds: Int = 120,
           at place: SourceLocation = #_sourceLocation) async throws -> Finished {
    // Off the cooperative pool's back: waiting blocks a thread.
    try await Task.detached(priority: .userInitiated) {
        // No test waits for a network.
        let environment = ["HF_HUB_OFFLINE": "1"].merging(environment) { $1 }
        return try runBlocking(productsFolder + "/tlens", arguments, environment, stdout, seconds, place)
    }.value
}

private func runBlocking(_ executable: String, _ arguments: [String], _ environment: [String: String?], _ stdout: StandardOutput,
                         _ seconds: Int, _ place: SourceLocation) throws -> Finished {
    let folder = try TestFolder()
    for name in ["out", "err"] { try folder.write(name, "") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // Reading stdin would block for ever (nobody writes to this pipe), and fail by the time limit.
    var input: [Int32] = [0, 0], output: [Int32] = [0, 0]
    guard pipe(&input) == 0, pipe(&output) == 0 else { throw LensError(.machine, "no pipe") }
    (input + output).forEach { _ = fcntl($0, F_SETFD, FD_CLOEXEC) }
    posix_spawn_file_actions_adddup2(&actions, input[0], 0)
    switch stdout {
    case .file: posix_spawn_file_actions_addopen(&actions, 1, folder("out"), O_WRONLY, 0)
    case .path(let path): posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY, 0)
    case .brokenPipe: posix_spawn_file_actions_adddup2(&actions, output[1], 1)
    case .closed: posix_spawn_file_actions_addclose(&actions, 1)
    }
    posix_spawn_file_actions_addopen(&actions, 2, folder("err"), O_WRONLY, 0)
    close(output[0])
    var process: pid_t = 0
    let code = withCStrings([executable] + arguments) { argv in
        withCStrings(variables(environment)) { envp in posix_spawn(&process, executable, &actions, nil, argv, envp) }
    }
    close(output[1])
    close(input[0])
    defer { close(input[1]) }
    guard code == 0 else { throw LensError(.machine, "cannot run", at: executable, found: String(cString: strerror(code))) }
    let (status, peakMemory) = wait(for: process, seconds)
    if status == nil { Issue.record("tlens \(arguments.joined(separator: " ")): not done after \(seconds) s", sourceLocation: place) }
    let signal = (status ?? SIGKILL) & 0x7F
    return Finished(code: signal == 0 ? ((status ?? 0) >> 8) & 0xFF : nil, signal: signal == 0 ? nil : signal,
                    out: try folder.read("out"), err: try folder.read("err"), peakMemory: peakMemory)
}

/// The status of a process when it ends, nil if it had to be killed; and its largest resident set. (What `wait4` tells of that
/// may be this process' own, from before the other's program was put in its place.)
private func wait(for process: pid_t, _ seconds: Int) -> (status: Int32?, peakMemory: Int?) {
    var status: Int32 = 0, peak: Int?
    let end = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < end {
        if waitpid(process, &status, WNOHANG) == process { return (status, peak) }
        peak = residentPeak(of: process) ?? peak
        usleep(2_000)
    }
    kill(process, SIGKILL)
    waitpid(process, &status, 0)
    return (nil, peak)
}

/// Bytes; nil for a process that has gone, or has not started its own program.
private func residentPeak(of process: pid_t) -> Int? {
    guard let file = fopen("/proc/\(process)/status", "r") else { return nil }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = fread(&buffer, 1, buffer.count, file)
    let lines = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: "\n")
    guard lines.first?.hasSuffix("tlens") == true, let line = lines.first(where: { $0.hasPrefix("VmHWM:") }) else { return nil }
    return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
}

private func variables(_ changes: [String: String?]) -> [String] {
    var all: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
        let text = String(cString: entry)
        if let equals = text.firstIndex(of: "=") { all[String(text[..<equals])] = String(text[text.index(after: equals)...]) }
        next += 1
    }
    for (name, value) in changes { all[name] = value }
    return all.map { "\($0)=\($1)" }
}

private func withCStrings<R>(_ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R) -> R {
    var pointers = strings.map { strdup($0) }
    defer { pointers.forEach { free($0) } }
    pointers.append(nil)
    return pointers.withUnsafeMutableBufferPointer { buffer in body(buffer.baseAddress!) }
}

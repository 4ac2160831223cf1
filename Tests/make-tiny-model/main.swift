// Writes the tiny random GPT-2 of the demo and the tests: `make-tiny-model FOLDER`. Nothing here is for users of the
// package; `make demo` calls it.

import LensFiles
import TinyModels
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

guard CommandLine.arguments.count == 2 else {
    print("usage: make-tiny-model FOLDER")
    exit(64)
}
do {
    try TinyGPT2().write(to: CommandLine.arguments[1])
} catch {
    print("make-tiny-model: \(error)")
    exit(1)
}

// Prints the public symbols of symbol graphs, one a line: `list-public-symbols FILE…`. Nothing here is for users of the
// package; scripts/public-symbols.sh calls it.

import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// `LensHooks Hook.edit(_:_:): static func edit(…)` for every symbol of a graph.
func symbols(in path: String) throws -> [String] {
    let file = try DataFile(path: path), graph = try JSON.parse(Array(file.read(0..<file.size)), at: path)
    let module = graph["module"]?["name"]?.stringValue ?? ""
    return (graph["symbols"]?.arrayValue ?? []).map { symbol in
        let name = (symbol["pathComponents"]?.arrayValue ?? []).compactMap(\.stringValue).joined(separator: ".")
        let declaration = (symbol["declarationFragments"]?.arrayValue ?? []).compactMap { $0["spelling"]?.stringValue }.joined()
        return "\(module) \(name): \(declaration.split(whereSeparator: \.isNewline).joined(separator: " "))"
    }
}

do {
    print(try Set(CommandLine.arguments.dropFirst().flatMap(symbols)).sorted().joined(separator: "\n"))
} catch {
    print("list-public-symbols: \(error)")
    exit(1)
}

// The functions every chat template has: Jinja's and the ones transformers adds.
import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What `raise_exception` throws: the template refuses the conversation.
struct JinjaRefusal: Error {
    let message: String
}

enum JinjaFunctions {
    static let names: Set<String> = ["range", "namespace", "dict", "raise_exception", "strftime_now"]
    /// Jinja's sandbox's own limit.
    private static let longestRange = 100_000

    static func call(_ name: String, _ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        switch name {
        case "range": return try range(arguments, &evaluator)
        case "raise_exception": throw JinjaRefusal(message: arguments.value(0, "message")?.text ?? "")
        case "strftime_now": return .string(try strftime(try arguments.string(0, "format") ?? "", evaluator.clock))
        default:
            var pairs: [(JinjaValue, JinjaValue)] = []
            if let first = arguments.positional.first {
                if case .dict(let dict) = first {
                    pairs = Array(zip(dict.keys, dict.values))
                } else {
                    for pair in try evaluator.elements(of: first) {
                        let items = try evaluator.elements(of: pair)
                        guard items.count == 2 else { throw JinjaError("'\(name)' of something that is no pairs") }
                        pairs.append((items[0], items[1]))
                    }
                }
            }
            pairs += arguments.named.map { (.string($0.name), $0.value) }
            try evaluator.charge(pairs.count)
            if name == "dict" { return .dict(try JinjaDict(pairs)) }
            let namespace = JinjaNamespace()
            _ = try JinjaValue.depth(around: pairs.map(\.1))
            for (key, value) in pairs {
                guard !key.text.hasPrefix("_") else { throw JinjaError("a namespace's member that begins with _: \(key.text)") }
                namespace.members[ExactString(key.text)] = value
            }
            return .namespace(namespace)
        }
    }

    private static func range(_ arguments: JinjaCall, _ evaluator: inout JinjaEvaluator) throws -> JinjaValue {
        let numbers = try arguments.positional.map { value in
            guard let number = value.integer else { throw JinjaError("a range of \(value.typeName)") }
            return number
        }
        guard (1...3).contains(numbers.count) else { throw JinjaError("a range of \(numbers.count) numbers") }
        let start = numbers.count > 1 ? numbers[0] : 0, stop = numbers.count > 1 ? numbers[1] : numbers[0]
        let step = numbers.count > 2 ? numbers[2] : 1
        guard step != 0, step != .min else { throw JinjaError("a range in steps of \(step)") }
        let distance = step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
        guard !distance.overflow, distance.partialValue <= 0 || (distance.partialValue - 1) / abs(step) < longestRange else {
            throw JinjaError("a range of more than \(longestRange) numbers")
        }
        let items = stride(from: start, to: stop, by: step).map { JinjaValue.int($0) }
        try evaluator.charge(items.count)
        return try .list(items)
    }

    /// The local time as C's strftime writes it.
    private static func strftime(_ format: String, _ clock: Int?) throws -> String {
        if format.utf8.isEmpty { return "" }
        guard format.utf8.count <= 256, !format.utf8.contains(0) else { throw JinjaError("a time's format of more than 256 bytes") }
        var seconds = time_t(clock ?? Int(time(nil))), parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { throw JinjaError("no local time") }
        var buffer = [CChar](repeating: 0, count: 16_384)
        let count = buffer.withUnsafeMutableBufferPointer { Glibc_strftime($0.baseAddress, $0.count, format, &parts) }
        return String(decoding: buffer[..<min(count, buffer.count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    static func power(_ a: Double, _ b: Double) -> Double { pow(a, b) }

    /// Python's `%` with %s, %d, %i, %r, %f (and its digits) and %%.
    static func percent(_ format: String, _ values: [JinjaValue], _ evaluator: inout JinjaEvaluator) throws -> String {
        var out = String.UnicodeScalarView(), next = 0
        var scalars = Array(format.unicodeScalars)[...]
        while let scalar = scalars.popFirst() {
            guard scalar == "%" else {
                out.append(scalar)
                continue
            }
            var digits: String?
            if scalars.first == "." {
                scalars.removeFirst()
                digits = ""
                while let digit = scalars.first, ("0"..."9").contains(digit) {
                    digits?.unicodeScalars.append(digit)
                    scalars.removeFirst()
                }
            }
            let kind = scalars.popFirst()
            if kind == "%" {
                out.append("%")
                continue
            }
            guard next < values.count else { throw JinjaError("not enough values for a format") }
            let value = values[next]
            next += 1
            switch kind {
            case "s": out.append(contentsOf: value.text.unicodeScalars)
            case "r": out.append(contentsOf: (try JinjaValue.list([value])).text.dropFirst().dropLast().unicodeScalars)
            case "d", "i":
                guard let number = value.number, number.isFinite, let whole = Int(exactly: number.rounded(.towardZero)) else {
                    throw JinjaError("%d of \(value.typeName)")
                }
                out.append(contentsOf: String(whole).unicodeScalars)
            case "f":
                guard let number = value.number, let count = Int(digits ?? "6"), count <= 30 else { throw JinjaError("%f of \(value.typeName)") }
                out.append(contentsOf: fixed(number, count).unicodeScalars)
            default: throw JinjaError("a format that is not supported: %\(kind.map { String($0) } ?? "")")
            }
            _ = try evaluator.charge(text: String(out))
        }
        guard next == values.count else { throw JinjaError("more values than a format has places") }
        return String(out)
    }

    /// A number with so many digits after the point.
    private static func fixed(_ number: Double, _ digits: Int) -> String {
        var buffer = [CChar](repeating: 0, count: 400)
        let count = buffer.withUnsafeMutableBufferPointer { pointer in
            withVaList([Int32(digits), number]) { vsnprintf(pointer.baseAddress, pointer.count, "%.*f", $0) }
        }
        return String(decoding: buffer[..<max(0, min(Int(count), buffer.count - 1))].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// C's strftime, whose name the function above takes.
private func Glibc_strftime(_ out: UnsafeMutablePointer<CChar>?, _ count: Int, _ format: String, _ parts: UnsafePointer<tm>) -> Int {
    strftime(out, count, format, parts)
}

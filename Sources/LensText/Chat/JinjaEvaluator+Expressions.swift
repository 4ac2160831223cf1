// Expressions: Python's arithmetic and comparisons, members and items (a member first looks for a method, an item for an
// item, as Jinja has it), slices and calls.
import LensFiles

/// The arguments of a call, evaluated.
struct JinjaCall {
    var positional: [JinjaValue] = []
    var named: [(name: String, value: JinjaValue)] = []
    var caller: JinjaMacro?

    /// The argument at a place or of a name.
    func value(_ index: Int, _ name: String) -> JinjaValue? {
        index < positional.count ? positional[index] : named.first { $0.name == name }?.value
    }

    /// An argument that must be an integer.
    func int(_ index: Int, _ name: String) throws -> Int? {
        guard let value = value(index, name), !value.isNone else { return nil }
        guard let number = value.integer else { throw JinjaError("\(value.typeName) as '\(name)'") }
        return number
    }

    func string(_ index: Int, _ name: String) throws -> String? {
        guard let value = value(index, name), !value.isNone else { return nil }
        guard case .string(let text) = value else { throw JinjaError("\(value.typeName) as '\(name)'") }
        return text
    }
}

extension JinjaEvaluator {
    mutating func evaluate(_ expression: JinjaExpression) throws -> JinjaValue {
        try charge()
        return try nested { try $0.value(of: expression) }
    }

    private mutating func value(of expression: JinjaExpression) throws -> JinjaValue {
        switch expression {
        case .literal(let value): return value
        case .name(let name): return lookUp(name)
        case .list(let items, let isTuple): return .list(try JinjaList(items.map { try evaluate($0) }, isTuple: isTuple))
        case .dict(let pairs): return .dict(try JinjaDict(pairs.map { (try evaluate($0.0), try evaluate($0.1)) }))
        case .member(let base, let name): return try member(try evaluate(base), name)
        case .item(let base, let index): return try item(try evaluate(base), try evaluate(index))
        case .slice(let base, let start, let stop, let step):
            return try slice(try evaluate(base), try bound(start), try bound(stop), try bound(step))
        case .call(let callee, let arguments): return try call(try evaluate(callee), try self.arguments(arguments))
        case .filter(let base, let name, let arguments):
            return try JinjaFilters.apply(name, try evaluate(base), try self.arguments(arguments), &self)
        case .test(let base, let name, let arguments):
            return .bool(try JinjaTests.apply(name, try evaluate(base), try self.arguments(arguments).positional, &self))
        case .unary(let op, let operand): return try unary(op, try evaluate(operand))
        case .binary(let op, let left, let right): return try binary(op, try evaluate(left), try evaluate(right))
        case .compare(let first, let rest):
            var left = try evaluate(first)
            for (op, expression) in rest {
                let right = try evaluate(expression)
                if !(try compare(op, left, right)) { return .bool(false) }
                left = right
            }
            return .bool(true)
        case .concat(let parts): return .string(try charge(text: try parts.map { try evaluate($0).text }.joined()))
        case .and(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? try evaluate(right) : value
        case .or(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? value : try evaluate(right)
        case .choice(let condition, let then, let otherwise):
            if try evaluate(condition).isTrue { return try evaluate(then) }
            return try otherwise.map { try evaluate($0) } ?? .undefined("the inline if has no else")
        }
    }

    private func lookUp(_ name: String) -> JinjaValue {
        if let value = scope.find(name) { return value }
        if JinjaFunctions.names.contains(name) { return .function(name) }
        return .undefined("'\(name)' is undefined")
    }

    mutating func arguments(_ arguments: JinjaArguments, caller: JinjaMacro? = nil) throws -> JinjaCall {
        var result = JinjaCall(caller: caller)
        result.positional = try arguments.positional.map { try evaluate($0) }
        result.named = try arguments.named.map { ($0.name, try evaluate($0.value)) }
        if let list = arguments.list { result.positional += try elements(of: try evaluate(list)) }
        if let dict = arguments.dict {
            guard case .dict(let dict) = try evaluate(dict) else { throw JinjaError("** of something that is no dictionary") }
            result.named += zip(dict.keys, dict.values).map { ($0.text, $1) }
        }
        return result
    }

    mutating func call(_ callee: JinjaValue, _ arguments: JinjaCall) throws -> JinjaValue {
        switch callee {
        case .macro(let macro): return try call(macro, arguments)
        case .function(let name): return try JinjaFunctions.call(name, arguments, &self)
        case .method(let value, let name): return try JinjaMethods.call(name, on: value, arguments, &self)
        case .undefined(let what): throw JinjaError(what)
        default: throw JinjaError("calling \(callee.typeName)")
        }
    }

    // MARK: Members and items

    func member(_ base: JinjaValue, _ name: String) throws -> JinjaValue {
        if case .undefined(let what) = base { throw JinjaError(what) }
        let missing = JinjaValue.undefined("\(base.typeName) has no member '\(name)'")
        if name.hasPrefix("_") { return missing }
        switch base {
        case .loop(let loop): return loop.member(name) ?? missing
        case .namespace(let namespace): return namespace.members[ExactString(name)] ?? missing
        case .macro(let macro): return name == "name" ? .string(macro.name) : missing
        default:
            if JinjaMethods.has(base, name) { return .method(base, name) }
            if case .dict(let dict) = base, let value = dict[name] { return value }
            return missing
        }
    }

    func item(_ base: JinjaValue, _ index: JinjaValue) throws -> JinjaValue {
        switch base {
        case .undefined(let what): throw JinjaError(what)
        case .dict(let dict): if let value = dict[index] { return value }
        case .list(let list):
            if let place = index.integer, let found = Self.place(place, list.items.count) { return list.items[found] }
        case .string(let text):
            if let place = index.integer {
                let scalars = text.unicodeScalars
                if let found = Self.place(place, scalars.count) {
                    return .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: found)]))
                }
            }
        default: break
        }
        if case .string(let name) = index { return try member(base, name) }
        return .undefined("\(base.typeName) has no item \(index.text)")
    }

    private static func place(_ index: Int, _ count: Int) -> Int? {
        let (fromEnd, overflow) = index.addingReportingOverflow(count)
        let place = index < 0 ? (overflow ? -1 : fromEnd) : index
        return (0..<count).contains(place) ? place : nil
    }

    private mutating func bound(_ expression: JinjaExpression?) throws -> Int? {
        guard let expression else { return nil }
        let value = try evaluate(expression)
        if value.isNone { return nil }
        guard let number = value.integer else { throw JinjaError("a slice from or to \(value.typeName)") }
        return number
    }

    private mutating func slice(_ base: JinjaValue, _ start: Int?, _ stop: Int?, _ step: Int?) throws -> JinjaValue {
        func places(_ count: Int) throws -> [Int] {
            let step = step ?? 1
            guard step != 0 else { throw JinjaError("a slice in steps of 0") }
            func clamped(_ value: Int?, _ standard: Int) -> Int {
                guard let value else { return standard }
                let (fromEnd, overflow) = value.addingReportingOverflow(count)
                let place = value < 0 ? (overflow ? -1 : fromEnd) : value
                return step > 0 ? min(max(place, 0), count) : min(max(place, -1), count - 1)
            }
            let first = clamped(start, step > 0 ? 0 : count - 1), last = clamped(stop, step > 0 ? count : -1)
            // A step longer than the list takes one item at most.
            return Array(stride(from: first, to: last, by: max(min(step, count + 1), -count - 1)))
        }
        switch base {
        case .list(let list):
            try charge(list.items.count)
            return .list(try JinjaList(places(list.items.count).map { list.items[$0] }, isTuple: list.isTuple))
        case .string(let text):
            let scalars = Array(try charge(text: text).unicodeScalars)
            return .string(String(String.UnicodeScalarView(try places(scalars.count).map { scalars[$0] })))
        case .undefined(let what): throw JinjaError(what)
        default: throw JinjaError("a slice of \(base.typeName)")
        }
    }

    // MARK: Operators

    private func unary(_ op: String, _ value: JinjaValue) throws -> JinjaValue {
        if op == "not" { return .bool(!value.isTrue) }
        if let number = value.integer {
            if op == "+" { return .int(number) }
            guard number != .min else { throw JinjaError("a number too large") }
            return .int(-number)
        }
        if case .double(let number) = value { return .double(op == "-" ? -number : number) }
        throw JinjaError("'\(op)' before \(value.typeName)")
    }

    mutating func compare(_ op: String, _ left: JinjaValue, _ right: JinjaValue) throws -> Bool {
        try charge(Self.size(left) + Self.size(right))
        switch op {
        case "==": return left.equals(right)
        case "!=": return !left.equals(right)
        case "<": return try left.isLess(right)
        case ">": return try right.isLess(left)
        case "<=": return try left.equals(right) || left.isLess(right)
        case ">=": return try left.equals(right) || right.isLess(left)
        default: return try contains(right, left) == (op == "in")
        }
    }

    /// Roughly what looking at all of it costs.
    static func size(_ value: JinjaValue) -> Int {
        switch value {
        case .string(let text): text.utf8.count / 16
        case .list(let list): list.items.reduce(list.items.count) { $0 + size($1) }
        case .dict(let dict): dict.values.reduce(dict.count) { $0 + size($1) }
        default: 0
        }
    }

    mutating func contains(_ container: JinjaValue, _ value: JinjaValue) throws -> Bool {
        switch container {
        case .string(let text):
            guard case .string(let part) = value else { throw JinjaError("\(value.typeName) looked for in a string") }
            return JinjaMethods.find(Array(part.utf8), in: Array(text.utf8)) != nil
        case .list(let list): return list.items.contains { $0.equals(value) }
        case .dict(let dict): return dict[value] != nil
        case .undefined: return false
        default: throw JinjaError("looking for something in \(container.typeName)")
        }
    }

    mutating func binary(_ op: String, _ left: JinjaValue, _ right: JinjaValue) throws -> JinjaValue {
        for case .undefined(let what) in [left, right] { throw JinjaError(what) }
        switch (op, left, right) {
        case ("+", .string(let a), .string(let b)): return .string(try charge(text: a + b))
        case ("+", .list(let a), .list(let b)) where a.isTuple == b.isTuple:
            try charge(a.items.count + b.items.count)
            return .list(try JinjaList(a.items + b.items, isTuple: a.isTuple))
        case ("*", .string(let text), _) where right.integer != nil: return .string(try repeated(text, right.integer ?? 0))
        case ("*", _, .string(let text)) where left.integer != nil: return .string(try repeated(text, left.integer ?? 0))
        case ("*", .list(let list), _) where right.integer != nil:
            let (count, overflow) = list.items.count.multipliedReportingOverflow(by: max(0, right.integer ?? 0))
            try charge(overflow ? limits.steps : count)
            return .list(try JinjaList(Array(repeatElement(list.items, count: max(0, right.integer ?? 0)).joined()), isTuple: list.isTuple))
        case ("%", .string(let text), _):
            if case .list(let list) = right, list.isTuple { return .string(try JinjaFunctions.percent(text, list.items, &self)) }
            return .string(try JinjaFunctions.percent(text, [right], &self))
        default: break
        }
        if let a = left.integer, let b = right.integer, op != "/" { return try Self.integers(op, a, b) }
        guard let a = left.number, let b = right.number else {
            throw JinjaError("'\(op)' between \(left.typeName) and \(right.typeName)")
        }
        return .double(try Self.doubles(op, a, b))
    }

    private mutating func repeated(_ text: String, _ count: Int) throws -> String {
        let (bytes, overflow) = text.utf8.count.multipliedReportingOverflow(by: max(0, count))
        guard !overflow, bytes <= limits.bytes else { throw JinjaError("a text longer than \(limits.bytes) bytes") }
        return try charge(text: text.utf8.isEmpty ? "" : String(repeating: text, count: max(0, count)))
    }

    private static func integers(_ op: String, _ a: Int, _ b: Int) throws -> JinjaValue {
        var result = (partialValue: 0, overflow: false)
        switch op {
        case "+": result = a.addingReportingOverflow(b)
        case "-": result = a.subtractingReportingOverflow(b)
        case "*": result = a.multipliedReportingOverflow(by: b)
        case "//", "%":
            guard b != 0 else { throw JinjaError("division by zero") }
            let (quotient, overflow) = a.dividedReportingOverflow(by: b)
            guard !overflow else { throw JinjaError("a number too large") }
            let remainder = a - quotient * b, isOff = remainder != 0 && (remainder < 0) != (b < 0)
            return .int(op == "//" ? quotient - (isOff ? 1 : 0) : remainder + (isOff ? b : 0))
        default:
            if b < 0 { return .double(try doubles("**", Double(a), Double(b))) }
            var value = (partialValue: 1, overflow: false)
            // Past 64 factors only −1, 0 and 1 stay small.
            let count = abs(a) <= 1 ? b & 1 | (b > 0 ? 2 : 0) : min(b, 64)
            for _ in 0..<count where !value.overflow { value = value.partialValue.multipliedReportingOverflow(by: a) }
            result = value
        }
        guard !result.overflow else { throw JinjaError("a number too large") }
        return .int(result.partialValue)
    }

    private static func doubles(_ op: String, _ a: Double, _ b: Double) throws -> Double {
        switch op {
        case "+": return a + b
        case "-": return a - b
        case "*": return a * b
        case "**": return JinjaFunctions.power(a, b)
        default:
            guard b != 0 else { throw JinjaError("division by zero") }
            if op == "/" { return a / b }
            if op == "//" { return (a / b).rounded(.down) }
            let remainder = a.truncatingRemainder(dividingBy: b)
            return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder
        }
    }
}

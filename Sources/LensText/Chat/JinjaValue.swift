// The values of chat templates: Python's, as far as templates see them. Strings go by Unicode scalars, as in Python.
// Containers hold plain data only and know how deep they are, so that no template builds a value too deep to walk.
import LensFiles

/// A value in a chat template.
enum JinjaValue: Sendable {
    case none
    /// A variable or member that is not there; `what` says which, for errors.
    case undefined(String)
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case list(JinjaList)
    case dict(JinjaDict)
    case namespace(JinjaNamespace)
    case loop(JinjaLoop)
    case macro(JinjaMacro)
    /// A function every template has: `range`, `namespace`, …
    case function(String)
    /// A method of a value, to be called.
    indirect case method(JinjaValue, String)
}

/// A list or tuple.
struct JinjaList: Sendable {
    let items: [JinjaValue]
    let isTuple: Bool
    let depth: Int

    init(_ items: [JinjaValue], isTuple: Bool = false) throws {
        depth = try JinjaValue.depth(around: items)
        self.items = items
        self.isTuple = isTuple
    }
}

/// A dictionary, in the order of insertion. Keys are numbers, strings, booleans or none.
struct JinjaDict: Sendable {
    private(set) var keys: [JinjaValue] = []
    private(set) var values: [JinjaValue] = []
    private var places: [Key: Int] = [:]
    private(set) var depth = 1

    private enum Key: Hashable {
        case string(ExactString), number(Double), none
    }

    init() {}

    init(_ pairs: [(JinjaValue, JinjaValue)]) throws {
        for (key, value) in pairs { try set(key, value) }
    }

    private static func key(_ value: JinjaValue) -> Key? {
        switch value {
        case .string(let text): return .string(ExactString(text))
        case .bool(let flag): return .number(flag ? 1 : 0)
        case .int(let number): return .number(Double(number))
        case .double(let number): return .number(number)
        case .none: return Key.none
        default: return nil
        }
    }

    mutating func set(_ key: JinjaValue, _ value: JinjaValue) throws {
        guard let place = Self.key(key) else { throw JinjaError("a dictionary's key that is \(key.typeName)") }
        depth = max(depth, try JinjaValue.depth(around: [value]))
        if let found = places[place] {
            values[found] = value
        } else {
            places[place] = keys.count
            keys.append(key)
            values.append(value)
        }
    }

    subscript(_ key: JinjaValue) -> JinjaValue? { Self.key(key).flatMap { places[$0] }.map { values[$0] } }
    subscript(_ key: String) -> JinjaValue? { self[.string(key)] }
    var count: Int { keys.count }
}

/// What `namespace()` makes: members that can be set from inner scopes. One rendering has it, on one task.
final class JinjaNamespace: @unchecked Sendable {
    var members: [ExactString: JinjaValue] = [:]
}

/// Something a template does that it cannot: becomes a LensError with the place in the template.
struct JinjaError: Error {
    let what: String
    init(_ what: String) { self.what = what }
}

extension JinjaValue {
    static let deepest = 64

    static func depth(around items: [JinjaValue]) throws -> Int {
        var depth = 0
        for item in items {
            switch item {
            case .list(let list): depth = max(depth, list.depth)
            case .dict(let dict): depth = max(depth, dict.depth)
            case .namespace, .loop, .macro, .method, .function: throw JinjaError("\(item.typeName) kept in a container")
            default: break
            }
        }
        guard depth < deepest else { throw JinjaError("a value nested deeper than \(deepest)") }
        return depth + 1
    }

    init(_ json: JSON) throws {
        switch json {
        case .null: self = .none
        case .bool(let flag): self = .bool(flag)
        case .int(let number): self = .int(number)
        case .double(let number): self = .double(number)
        case .string(let text): self = .string(text)
        case .array(let items): self = .list(try JinjaList(items.map(JinjaValue.init)))
        case .object(let object):
            self = .dict(try JinjaDict(object.pairs.map { (.string($0.key), try JinjaValue($0.value)) }))
        }
    }

    static func list(_ items: [JinjaValue]) throws -> JinjaValue { .list(try JinjaList(items)) }

    /// Python's name of its type.
    var typeName: String {
        switch self {
        case .none: "None"
        case .undefined: "undefined"
        case .bool: "a boolean"
        case .int: "an integer"
        case .double: "a number"
        case .string: "a string"
        case .list(let list): list.isTuple ? "a tuple" : "a list"
        case .dict: "a dictionary"
        case .namespace: "a namespace"
        case .loop: "a loop"
        case .macro: "a macro"
        case .function, .method: "a function"
        }
    }

    var isTrue: Bool {
        switch self {
        case .none, .undefined: false
        case .bool(let flag): flag
        case .int(let number): number != 0
        case .double(let number): number != 0
        case .string(let text): !text.utf8.isEmpty
        case .list(let list): !list.items.isEmpty
        case .dict(let dict): dict.count > 0
        default: true
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }
    var isNone: Bool { if case .none = self { true } else { false } }

    /// The number, booleans included.
    var number: Double? {
        switch self {
        case .bool(let flag): flag ? 1 : 0
        case .int(let number): Double(number)
        case .double(let number): number
        default: nil
        }
    }

    /// The integer, booleans included.
    var integer: Int? {
        switch self {
        case .bool(let flag): flag ? 1 : 0
        case .int(let number): number
        default: nil
        }
    }

    /// Python's `==`.
    func equals(_ other: JinjaValue) -> Bool {
        switch (self, other) {
        case (.none, .none), (.undefined, .undefined): return true
        case (.string(let a), .string(let b)): return ExactString(a) == ExactString(b)
        case (.list(let a), .list(let b)):
            return a.isTuple == b.isTuple && a.items.count == b.items.count && zip(a.items, b.items).allSatisfy { $0.equals($1) }
        case (.dict(let a), .dict(let b)):
            return a.count == b.count && zip(a.keys, a.values).allSatisfy { key, value in b[key].map { value.equals($0) } ?? false }
        case (.namespace(let a), .namespace(let b)): return a === b
        case (.int(let a), .int(let b)): return a == b
        default:
            guard let a = number, let b = other.number else { return false }
            return a == b
        }
    }

    /// Python's `<`.
    func isLess(_ other: JinjaValue) throws -> Bool {
        switch (self, other) {
        case (.string(let a), .string(let b)): return a.unicodeScalars.lexicographicallyPrecedes(b.unicodeScalars)
        case (.int(let a), .int(let b)): return a < b
        case (.list(let a), .list(let b)):
            for (x, y) in zip(a.items, b.items) where !x.equals(y) { return try x.isLess(y) }
            return a.items.count < b.items.count
        default:
            guard let a = number, let b = other.number else {
                throw JinjaError("\(typeName) compared with \(other.typeName)")
            }
            return a < b
        }
    }
}

// The tests of `is`.

enum JinjaTests {
    static func apply(_ name: String, _ value: JinjaValue, _ arguments: [JinjaValue], _ evaluator: inout JinjaEvaluator) throws -> Bool {
        func other() throws -> JinjaValue {
            guard let first = arguments.first else { throw JinjaError("the test '\(name)' without what it compares with") }
            return first
        }
        switch name {
        case "defined": return !value.isUndefined
        case "undefined": return value.isUndefined
        case "none": return value.isNone
        case "boolean": if case .bool = value { return true } else { return false }
        case "true": if case .bool(true) = value { return true } else { return false }
        case "false": if case .bool(false) = value { return true } else { return false }
        case "integer": if case .int = value { return true } else { return false }
        case "float": if case .double = value { return true } else { return false }
        case "number": return value.number != nil
        case "string": if case .string = value { return true } else { return false }
        case "mapping": if case .dict = value { return true } else { return false }
        case "sequence":
            switch value {
            case .string, .list, .dict, .undefined: return true
            default: return false
            }
        case "iterable":
            switch value {
            case .string, .list, .dict, .undefined, .loop: return true
            default: return false
            }
        case "callable":
            switch value {
            case .macro, .function, .method: return true
            default: return false
            }
        case "odd", "even":
            guard let number = value.integer else { throw JinjaError("\(value.typeName) tested for being \(name)") }
            return (number & 1 == 1) == (name == "odd")
        case "divisibleby":
            guard let number = value.integer, let divisor = try other().integer, divisor != 0, divisor != -1 else {
                throw JinjaError("a test of divisibility of \(value.typeName)")
            }
            return number % divisor == 0
        case "lower", "upper":
            let text = value.text
            return JinjaMethods.isCased(text, upper: name == "upper")
        case "eq", "equalto", "==": return try evaluator.compare("==", value, other())
        case "ne", "!=": return try evaluator.compare("!=", value, other())
        case "lt", "lessthan", "<": return try evaluator.compare("<", value, other())
        case "le", "<=": return try evaluator.compare("<=", value, other())
        case "gt", "greaterthan", ">": return try evaluator.compare(">", value, other())
        case "ge", ">=": return try evaluator.compare(">=", value, other())
        case "in": return try evaluator.contains(try other(), value)
        case "sameas":
            if case .none = value { return try other().isNone }
            if case .bool(let flag) = value, case .bool(let wanted) = try other() { return flag == wanted }
            throw JinjaError("the test 'sameas' of \(value.typeName), which is not supported")
        case "escaped": return false
        case "filter": if case .string(let name) = value { return JinjaFilters.names.contains(name) } else { return false }
        case "test": if case .string(let name) = value { return names.contains(name) } else { return false }
        default: throw JinjaError("no test named '\(name)'")
        }
    }

    static let names: Set<String> = [
        "defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping", "sequence",
        "iterable", "callable", "odd", "even", "divisibleby", "lower", "upper", "eq", "equalto", "==", "ne", "!=", "lt", "lessthan",
        "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=", "in", "sameas", "escaped", "filter", "test",
    ]
}

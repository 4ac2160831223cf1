// Runs a parsed template. Everything it does is counted: steps, nesting, the size of texts and of the output, so that a
// hostile template ends in an error, soon. Names are found in scopes as Jinja has them: a loop's body and a macro's are
// scopes, a condition's is not.
import LensFiles

/// Variables of one block, and the scope around it.
final class JinjaScope: @unchecked Sendable {
    var variables: [ExactString: JinjaValue] = [:]
    let parent: JinjaScope?

    init(parent: JinjaScope?) { self.parent = parent }

    func find(_ name: String) -> JinjaValue? {
        let key = ExactString(name)
        var scope: JinjaScope? = self
        while let here = scope {
            if let value = here.variables[key] { return value }
            scope = here.parent
        }
        return nil
    }
}

/// A macro with the scope it was defined in, which outlives it.
final class JinjaMacro: @unchecked Sendable {
    let tree: JinjaMacroTree
    weak var scope: JinjaScope?
    var name: String { tree.name }

    init(_ tree: JinjaMacroTree, in scope: JinjaScope) {
        self.tree = tree
        self.scope = scope
    }
}

/// Where a loop is: the template's `loop`.
final class JinjaLoop: @unchecked Sendable {
    let items: [JinjaValue]
    var index = 0
    var last: [JinjaValue]?

    init(_ items: [JinjaValue]) { self.items = items }

    func member(_ name: String) -> JinjaValue? {
        switch name {
        case "index": .int(index + 1)
        case "index0": .int(index)
        case "revindex": .int(items.count - index)
        case "revindex0": .int(items.count - index - 1)
        case "first": .bool(index == 0)
        case "last": .bool(index == items.count - 1)
        case "length": .int(items.count)
        case "previtem": index > 0 ? items[index - 1] : .undefined("there is no previous item")
        case "nextitem": index + 1 < items.count ? items[index + 1] : .undefined("there is no next item")
        // Only recursive loops, which are not supported, are deeper.
        case "depth": .int(1)
        case "depth0": .int(0)
        case "cycle", "changed": .method(.loop(self), name)
        default: nil
        }
    }
}

struct JinjaEvaluator {
    /// What a template may take.
    struct Limits: Sendable {
        var steps = 20_000_000
        var nesting = 300
        /// Bytes of one text, and of all output.
        var bytes = 1 << 24
    }

    enum Flow { case next, breakLoop, continueLoop }

    var limits = Limits()
    /// Seconds since 1970 for `strftime_now`; nil: now.
    var clock: Int?
    private(set) var steps = 0
    private var nesting = 0
    var scope = JinjaScope(parent: nil)
    private(set) var output: [UInt8] = []

    // MARK: Counting

    /// Counts work: a step, and more for what handles many bytes or items.
    mutating func charge(_ count: Int = 1) throws {
        steps += count
        guard steps <= limits.steps else { throw JinjaError("more work than a template may take") }
    }

    mutating func charge(text: String) throws -> String {
        guard text.utf8.count <= limits.bytes else { throw JinjaError("a text longer than \(limits.bytes) bytes") }
        try charge(1 + text.utf8.count / 16)
        return text
    }

    mutating func nested<T>(_ body: (inout JinjaEvaluator) throws -> T) throws -> T {
        nesting += 1
        defer { nesting -= 1 }
        guard nesting <= limits.nesting else { throw JinjaError("nesting deeper than \(limits.nesting)") }
        return try body(&self)
    }

    // MARK: Blocks

    /// Renders a template with these variables.
    mutating func render(_ template: [JinjaNode], _ variables: [(String, JinjaValue)]) throws -> String {
        for (name, value) in variables { scope.variables[ExactString(name)] = value }
        _ = try run(template)
        return String(decoding: output, as: UTF8.self)
    }

    private mutating func write(_ text: String) throws {
        let text = try charge(text: text)
        guard output.count + text.utf8.count <= limits.bytes else { throw JinjaError("more than \(limits.bytes) bytes of output") }
        output.append(contentsOf: text.utf8)
    }

    mutating func run(_ nodes: [JinjaNode]) throws -> Flow {
        for node in nodes {
            try charge()
            do {
                let flow = try nested { try $0.run(node) }
                if flow != .next { return flow }
            } catch let error as JinjaError {
                // The innermost line is the one that says most.
                throw JinjaLineError(what: error.what, line: node.line)
            }
        }
        return .next
    }

    private mutating func run(_ node: JinjaNode) throws -> Flow {
        switch node.kind {
        case .text(let text): try write(text)
        case .output(let expression): try write(try evaluate(expression).text)
        case .choice(let branches, let otherwise):
            for branch in branches where try evaluate(branch.condition).isTrue { return try run(branch.body) }
            return try run(otherwise)
        case .loop(let target, let list, let condition, let body, let otherwise):
            try loop(target, list, condition, body, otherwise)
        case .set(let target, let value): try assign(target, try evaluate(value))
        case .setBlock(let target, let filters, let body):
            try assign(target, try filtered(try inScope { try $0.captured(body) }, filters))
        case .macro(let tree): scope.variables[ExactString(tree.name)] = .macro(JinjaMacro(tree, in: scope))
        case .call(let expression, let tree):
            let caller = JinjaMacro(tree, in: scope)
            guard case .call(let callee, let arguments) = expression else { throw JinjaError("a call block that calls nothing") }
            try write(try call(try evaluate(callee), try self.arguments(arguments, caller: caller)).text)
        case .filter(let filters, let body): try write(try filtered(try inScope { try $0.captured(body) }, filters).text)
        case .with(let pairs, let body):
            let values = try pairs.map { try evaluate($0.1) }
            return try inScope { inner in
                for (pair, value) in zip(pairs, values) { try inner.assign(pair.0, value) }
                return try inner.run(body)
            }
        case .scope(let body): return try inScope { try $0.run(body) }
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .next
    }

    private mutating func inScope<T>(parent: JinjaScope? = nil, _ body: (inout JinjaEvaluator) throws -> T) throws -> T {
        let outer = scope
        scope = JinjaScope(parent: parent ?? outer)
        defer { scope = outer }
        return try body(&self)
    }

    /// What a body writes, as a value.
    private mutating func captured(_ body: [JinjaNode]) throws -> JinjaValue {
        let outer = output
        output = []
        defer { output = outer }
        _ = try run(body)
        return .string(String(decoding: output, as: UTF8.self))
    }

    private mutating func filtered(_ value: JinjaValue, _ filters: [(String, JinjaArguments)]) throws -> JinjaValue {
        var value = value
        for (name, arguments) in filters { value = try JinjaFilters.apply(name, value, try self.arguments(arguments), &self) }
        return value
    }

    private mutating func loop(_ target: JinjaTarget, _ list: JinjaExpression, _ condition: JinjaExpression?,
                               _ body: [JinjaNode], _ otherwise: [JinjaNode]) throws {
        var items = try elements(of: try evaluate(list))
        if let condition {
            items = try items.filter { item in
                try inScope { inner in
                    try inner.assign(target, item)
                    return try inner.evaluate(condition).isTrue
                }
            }
        }
        if items.isEmpty {
            _ = try run(otherwise)
            return
        }
        let loop = JinjaLoop(items)
        for (index, item) in items.enumerated() {
            try charge()
            loop.index = index
            let flow = try inScope { inner in
                inner.scope.variables[ExactString("loop")] = .loop(loop)
                try inner.assign(target, item)
                return try inner.run(body)
            }
            if flow == .breakLoop { break }
        }
    }

    private mutating func assign(_ target: JinjaTarget, _ value: JinjaValue) throws {
        switch target {
        case .name(let name): scope.variables[ExactString(name)] = value
        case .member(let name, let member):
            guard case .namespace(let namespace)? = scope.find(name) else {
                throw JinjaError("a member set on '\(name)', which is no namespace")
            }
            guard !member.hasPrefix("_") else { throw JinjaError("a namespace's member that begins with _: \(member)") }
            _ = try JinjaValue.depth(around: [value])
            namespace.members[ExactString(member)] = value
        case .several(let targets):
            let items = try elements(of: value)
            guard items.count == targets.count else {
                throw JinjaError("\(items.count) values for \(targets.count) names")
            }
            for (target, item) in zip(targets, items) { try assign(target, item) }
        }
    }

    /// What a loop or filter goes through.
    mutating func elements(of value: JinjaValue) throws -> [JinjaValue] {
        let items: [JinjaValue]
        switch value {
        case .list(let list): items = list.items
        case .dict(let dict): items = dict.keys
        case .string(let text): items = text.unicodeScalars.map { .string(String($0)) }
        case .undefined: items = []
        default: throw JinjaError("going through \(value.typeName)")
        }
        try charge(items.count)
        return items
    }

    // MARK: Macros

    /// Calls a macro. - Returns: what it writes.
    mutating func call(_ macro: JinjaMacro, _ arguments: JinjaCall) throws -> JinjaValue {
        guard let home = macro.scope else { throw JinjaError("a macro called where it is not: \(macro.name)") }
        let parameters = macro.tree.parameters
        var named = arguments.named
        return try nested { evaluator in
            try evaluator.inScope(parent: home) { inner in
                for (index, parameter) in parameters.enumerated() {
                    let key = ExactString(parameter.name)
                    if index < arguments.positional.count {
                        inner.scope.variables[key] = arguments.positional[index]
                    } else if let place = named.firstIndex(where: { ExactString($0.name) == key }) {
                        inner.scope.variables[key] = named.remove(at: place).value
                    } else {
                        inner.scope.variables[key] = try parameter.standard.map { try inner.evaluate($0) }
                            ?? .undefined("parameter '\(parameter.name)' was not provided")
                    }
                }
                inner.scope.variables[ExactString("varargs")] = .list(
                    try JinjaList(Array(arguments.positional.dropFirst(parameters.count)), isTuple: true))
                inner.scope.variables[ExactString("kwargs")] = .dict(try JinjaDict(named.map { (.string($0.name), $0.value) }))
                inner.scope.variables[ExactString("caller")] = arguments.caller.map(JinjaValue.macro) ?? .undefined("no caller defined")
                return try inner.captured(macro.tree.body)
            }
        }
    }
}

/// An error with the line of the template it came from.
struct JinjaLineError: Error {
    let what: String
    let line: Int
}

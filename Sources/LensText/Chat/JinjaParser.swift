// Parses a template's tokens: blocks here, expressions in JinjaParser+Expressions.swift. It refuses blocks that need other
// files (include, import, extends), recursive loops, and nesting past what any template has.
import LensFiles

struct JinjaParser {
    var tokens: [JinjaToken]
    var at = 0
    var depth = 0

    /// The deepest nesting of blocks and expressions.
    static let deepest = 80

    static func parse(_ template: String) throws -> [JinjaNode] {
        var lexer = JinjaLexer(template)
        let tokens = try lexer.run().tokens
        var parser = JinjaParser(tokens: tokens)
        do {
            let body = try parser.body(until: [])
            guard parser.token.kind == .end else { throw JinjaError("\(parser.found) that closes nothing") }
            return body
        } catch let error as JinjaError {
            throw JinjaError("\(error.what) in line \(parser.token.line)")
        }
    }

    var token: JinjaToken { tokens[min(at, tokens.count - 1)] }

    var found: String {
        switch token.kind {
        case .blockEnd, .variableEnd: "the tag's end"
        case .end: "the template's end"
        case .text: "text"
        case .blockBegin, .variableBegin: "a tag"
        default: "'\(token.text)'"
        }
    }

    mutating func advance() -> JinjaToken {
        defer { at += 1 }
        return token
    }

    func isOp(_ text: String) -> Bool { token.kind == .op && token.text == text }
    func isName(_ text: String) -> Bool { token.kind == .name && token.text == text }

    mutating func take(_ text: String) -> Bool {
        guard isOp(text) else { return false }
        at += 1
        return true
    }

    mutating func takeName(_ text: String) -> Bool {
        guard isName(text) else { return false }
        at += 1
        return true
    }

    mutating func expect(_ text: String) throws {
        guard take(text) else { throw JinjaError("\(found) where '\(text)' should be") }
    }

    mutating func name() throws -> String {
        guard token.kind == .name else { throw JinjaError("\(found) where a name should be") }
        return advance().text
    }

    mutating func nested<T>(_ body: (inout JinjaParser) throws -> T) throws -> T {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else { throw JinjaError("nesting deeper than \(Self.deepest)") }
        return try body(&self)
    }

    private mutating func blockEnd() throws {
        guard token.kind == .blockEnd else { throw JinjaError("\(found) where the tag should end") }
        at += 1
    }

    /// Parts up to a block of one of these names, which is next then (after its `{%`).
    private mutating func body(until ends: [String]) throws -> [JinjaNode] {
        var nodes: [JinjaNode] = []
        while true {
            let line = token.line
            switch token.kind {
            case .text: nodes.append(JinjaNode(kind: .text(advance().text), line: line))
            case .variableBegin:
                at += 1
                nodes.append(JinjaNode(kind: .output(try tuple()), line: line))
                guard token.kind == .variableEnd else { throw JinjaError("\(found) where the tag should end") }
                at += 1
            case .blockBegin:
                at += 1
                if token.kind == .name, ends.contains(token.text) { return nodes }
                nodes.append(JinjaNode(kind: try nested { try $0.block() }, line: line))
            default:
                guard ends.isEmpty else { throw JinjaError("\(found) where \(ends.joined(separator: " or ")) should be") }
                return nodes
            }
        }
    }

    /// A body and its end tag.
    private mutating func body(to end: String) throws -> [JinjaNode] {
        try blockEnd()
        let nodes = try body(until: [end])
        at += 1
        // `endmacro name` and its like.
        if token.kind == .name { at += 1 }
        try blockEnd()
        return nodes
    }

    private mutating func block() throws -> JinjaNode.Kind {
        let tag = try name()
        switch tag {
        case "if": return try choice()
        case "for": return try loop()
        case "set": return try set()
        case "macro": return .macro(try macro())
        case "call": return try call()
        case "filter":
            var filters: [(String, JinjaArguments)] = [(try name(), isOp("(") ? try arguments() : JinjaArguments())]
            filters += try self.filters()
            return .filter(filters, try body(to: "endfilter"))
        case "with":
            var pairs: [(JinjaTarget, JinjaExpression)] = []
            while token.kind != .blockEnd {
                if !pairs.isEmpty { try expect(",") }
                let target = try self.target()
                try expect("=")
                pairs.append((target, try expression()))
            }
            return .with(pairs, try body(to: "endwith"))
        case "generation": return .scope(try body(to: "endgeneration"))
        case "autoescape":
            _ = try expression()
            return .scope(try body(to: "endautoescape"))
        case "break", "continue":
            try blockEnd()
            return tag == "break" ? .breakLoop : .continueLoop
        default: throw JinjaError("a block that chat templates do not have: \(tag)")
        }
    }

    private mutating func choice() throws -> JinjaNode.Kind {
        var branches: [(condition: JinjaExpression, body: [JinjaNode])] = [], otherwise: [JinjaNode] = []
        var condition = try tuple(conditional: true)
        while true {
            try blockEnd()
            branches.append((condition, try body(until: ["elif", "else", "endif"])))
            let next = advance().text
            if next == "elif" {
                condition = try tuple(conditional: true)
                continue
            }
            if next == "else" { otherwise = try body(to: "endif") } else { try blockEnd() }
            return .choice(branches, otherwise: otherwise)
        }
    }

    private mutating func loop() throws -> JinjaNode.Kind {
        let target = try self.target()
        guard takeName("in") else { throw JinjaError("\(found) where 'in' should be") }
        // `if` begins the loop's own condition here.
        let list = try tuple(conditional: false)
        let condition = takeName("if") ? try expression() : nil
        if isName("recursive") { throw JinjaError("a recursive loop, which is not supported") }
        try blockEnd()
        let inner = try body(until: ["else", "endfor"])
        var otherwise: [JinjaNode] = []
        if advance().text == "else" { otherwise = try body(to: "endfor") } else { try blockEnd() }
        return .loop(target, over: list, condition: condition, body: inner, otherwise: otherwise)
    }

    /// Names, or a namespace's member, to put values in.
    private mutating func target() throws -> JinjaTarget {
        func one(_ parser: inout JinjaParser) throws -> JinjaTarget {
            if parser.take("(") {
                let inner = try parser.target()
                try parser.expect(")")
                return inner
            }
            let name = try parser.name()
            return parser.take(".") ? .member(name, try parser.name()) : .name(name)
        }
        return try nested { parser in
            var targets = [try one(&parser)]
            var isSeveral = false
            while parser.take(",") {
                isSeveral = true
                guard parser.token.kind == .name && !parser.isName("in") || parser.isOp("(") else { break }
                targets.append(try one(&parser))
            }
            return isSeveral ? .several(targets) : targets[0]
        }
    }

    private mutating func set() throws -> JinjaNode.Kind {
        let target = try self.target()
        if take("=") {
            let value = try tuple()
            try blockEnd()
            return .set(target, value)
        }
        let filters = try self.filters()
        return .setBlock(target, filters, try body(to: "endset"))
    }

    private mutating func filters() throws -> [(String, JinjaArguments)] {
        var filters: [(String, JinjaArguments)] = []
        while take("|") { filters.append((try name(), isOp("(") ? try arguments() : JinjaArguments())) }
        return filters
    }

    private mutating func parameters() throws -> [(name: String, standard: JinjaExpression?)] {
        var parameters: [(name: String, standard: JinjaExpression?)] = []
        guard take("(") else { return [] }
        while !take(")") {
            if !parameters.isEmpty { try expect(",") }
            let name = try self.name()
            parameters.append((name, take("=") ? try expression() : nil))
        }
        return parameters
    }

    private mutating func macro() throws -> JinjaMacroTree {
        let name = try self.name()
        return JinjaMacroTree(name: name, parameters: try parameters(), body: try body(to: "endmacro"))
    }

    private mutating func call() throws -> JinjaNode.Kind {
        let parameters = try self.parameters()
        let callee = try expression()
        guard case .call = callee else { throw JinjaError("a call block that calls nothing") }
        return .call(callee, JinjaMacroTree(name: "caller", parameters: parameters, body: try body(to: "endcall")))
    }
}

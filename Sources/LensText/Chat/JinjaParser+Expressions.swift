// Expressions, loosest first: conditions, or, and, not, comparisons, sums, ~, products, powers, signs, and what follows a
// value (members, items, calls, filters, tests).

extension JinjaParser {
    /// An expression, or several with commas between: a tuple.
    mutating func tuple(conditional: Bool = true) throws -> JinjaExpression {
        let first = try conditional ? expression() : nested { try $0.disjunction() }
        guard isOp(",") else { return first }
        var items = [first]
        while take(",") {
            if token.kind == .blockEnd || token.kind == .variableEnd || isOp(")") { break }
            items.append(try conditional ? expression() : disjunction())
        }
        return .list(items, isTuple: true)
    }

    mutating func expression() throws -> JinjaExpression {
        try nested { parser in
            var value = try parser.disjunction()
            var count = 0
            while parser.takeName("if") {
                let condition = try parser.link(&count) { try $0.disjunction() }
                let otherwise = parser.takeName("else") ? try parser.expression() : nil
                value = .choice(condition, then: value, otherwise: otherwise)
            }
            return value
        }
    }

    /// The next operand of a row of operators, which may be only so long: the tree is as deep as the row is long.
    private mutating func link(_ count: inout Int, _ body: (inout JinjaParser) throws -> JinjaExpression) throws -> JinjaExpression {
        count += 1
        guard count <= 64 else { throw JinjaError("more than 64 operators in a row") }
        return try body(&self)
    }

    mutating func disjunction() throws -> JinjaExpression {
        var left = try conjunction()
        var count = 0
        while takeName("or") { left = .or(left, try link(&count) { try $0.conjunction() }) }
        return left
    }

    private mutating func conjunction() throws -> JinjaExpression {
        var left = try negation()
        var count = 0
        while takeName("and") { left = .and(left, try link(&count) { try $0.negation() }) }
        return left
    }

    private mutating func negation() throws -> JinjaExpression {
        if takeName("not") { return .unary("not", try nested { try $0.negation() }) }
        return try comparison()
    }

    private mutating func comparison() throws -> JinjaExpression {
        let first = try sum()
        var rest: [(String, JinjaExpression)] = []
        while true {
            if token.kind == .op, ["==", "!=", "<", "<=", ">", ">="].contains(token.text) {
                let op = advance().text
                rest.append((op, try sum()))
            } else if takeName("in") {
                rest.append(("in", try sum()))
            } else if isName("not"), at + 1 < tokens.count, tokens[at + 1].kind == .name, tokens[at + 1].text == "in" {
                at += 2
                rest.append(("not in", try sum()))
            } else {
                return rest.isEmpty ? first : .compare(first, rest)
            }
        }
    }

    private mutating func sum() throws -> JinjaExpression {
        var left = try concatenation()
        var count = 0
        while isOp("+") || isOp("-") { left = .binary(advance().text, left, try link(&count) { try $0.concatenation() }) }
        return left
    }

    private mutating func concatenation() throws -> JinjaExpression {
        var parts = [try product()]
        while take("~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concat(parts)
    }

    private mutating func product() throws -> JinjaExpression {
        var left = try power()
        var count = 0
        while isOp("*") || isOp("/") || isOp("//") || isOp("%") {
            left = .binary(advance().text, left, try link(&count) { try $0.power() })
        }
        return left
    }

    private mutating func power() throws -> JinjaExpression {
        var left = try sign(withFilters: true)
        var count = 0
        while take("**") { left = .binary("**", left, try link(&count) { try $0.sign(withFilters: true) }) }
        return left
    }

    private mutating func sign(withFilters: Bool) throws -> JinjaExpression {
        var value: JinjaExpression
        if isOp("-") || isOp("+") {
            let op = advance().text
            value = .unary(op, try nested { try $0.sign(withFilters: false) })
        } else {
            value = try primary()
        }
        value = try postfix(value)
        return withFilters ? try filtersAndTests(value) : value
    }

    private mutating func primary() throws -> JinjaExpression {
        let token = advance()
        switch token.kind {
        case .name:
            switch token.text {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.none)
            default: return .name(token.text)
            }
        case .string:
            var text = token.text
            while self.token.kind == .string { text += advance().text }
            return .literal(.string(text))
        case .int:
            guard let value = Int(token.text) else { throw JinjaError("a number too large: \(token.text)") }
            return .literal(.int(value))
        case .double: return .literal(.double(Double(token.text) ?? 0))
        case .op where token.text == "(":
            return try nested { parser in
                if parser.take(")") { return .list([], isTuple: true) }
                let value = try parser.tuple()
                try parser.expect(")")
                return value
            }
        case .op where token.text == "[":
            return try nested { parser in
                var items: [JinjaExpression] = []
                while !parser.take("]") {
                    if !items.isEmpty {
                        try parser.expect(",")
                        if parser.take("]") { break }
                    }
                    items.append(try parser.expression())
                }
                return .list(items, isTuple: false)
            }
        case .op where token.text == "{": return try nested { try $0.dictionary() }
        default:
            at -= 1
            throw JinjaError("\(found) where a value should be")
        }
    }

    private mutating func dictionary() throws -> JinjaExpression {
        var pairs: [(JinjaExpression, JinjaExpression)] = []
        while !take("}") {
            if !pairs.isEmpty {
                try expect(",")
                if take("}") { break }
            }
            let key = try expression()
            try expect(":")
            pairs.append((key, try expression()))
        }
        return .dict(pairs)
    }

    private mutating func postfix(_ base: JinjaExpression) throws -> JinjaExpression {
        var value = base, count = 0
        while isOp(".") || isOp("[") || isOp("(") {
            count += 1
            guard count <= 64 else { throw JinjaError("more than 64 members in a row") }
            if take(".") {
                if token.kind == .int, let index = Int(token.text) {
                    at += 1
                    value = .item(value, .literal(.int(index)))
                } else {
                    value = .member(value, try name())
                }
            } else if isOp("(") {
                value = .call(value, try arguments())
            } else {
                at += 1
                value = try nested { try $0.subscripted(value) }
            }
        }
        return value
    }

    private mutating func subscripted(_ value: JinjaExpression) throws -> JinjaExpression {
        var parts: [JinjaExpression?] = [nil], isSlice = false
        while !take("]") {
            if take(":") {
                isSlice = true
                parts.append(nil)
            } else {
                guard parts[parts.count - 1] == nil else { throw JinjaError("\(found) where ']' should be") }
                parts[parts.count - 1] = try tuple()
            }
        }
        if !isSlice {
            guard let index = parts[0] else { throw JinjaError("an empty subscript") }
            return .item(value, index)
        }
        guard parts.count <= 3 else { throw JinjaError("a slice of too many parts") }
        return .slice(value, parts[0], parts[1], parts.count > 2 ? parts[2] : nil)
    }

    mutating func arguments() throws -> JinjaArguments {
        try expect("(")
        return try nested { parser in
            var result = JinjaArguments(), isFirst = true
            while !parser.take(")") {
                if !isFirst {
                    try parser.expect(",")
                    if parser.take(")") { break }
                }
                isFirst = false
                if parser.take("*") {
                    result.list = try parser.expression()
                } else if parser.take("**") {
                    result.dict = try parser.expression()
                } else if parser.token.kind == .name, parser.at + 1 < parser.tokens.count,
                          parser.tokens[parser.at + 1].kind == .op, parser.tokens[parser.at + 1].text == "=" {
                    let name = try parser.name()
                    parser.at += 1
                    result.named.append((name, try parser.expression()))
                } else {
                    guard result.named.isEmpty else { throw JinjaError("an argument without a name after one with a name") }
                    result.positional.append(try parser.expression())
                }
            }
            return result
        }
    }

    private mutating func filtersAndTests(_ base: JinjaExpression) throws -> JinjaExpression {
        var value = base, count = 0
        while isOp("|") || isName("is") || isOp("(") {
            count += 1
            guard count <= 64 else { throw JinjaError("more than 64 filters in a row") }
            if take("|") {
                value = .filter(value, try name(), isOp("(") ? try arguments() : JinjaArguments())
            } else if isOp("(") {
                value = .call(value, try arguments())
            } else {
                at += 1
                value = try test(value)
            }
        }
        return value
    }

    private mutating func test(_ value: JinjaExpression) throws -> JinjaExpression {
        let isNegated = takeName("not")
        let name = try self.name()
        var arguments = JinjaArguments()
        if isOp("(") {
            arguments = try self.arguments()
        } else if [.name, .string, .int, .double].contains(token.kind) || isOp("[") || isOp("{"),
                  !(isName("else") || isName("or") || isName("and")) {
            if isName("is") { throw JinjaError("several tests with is in a row") }
            // `x is string if y`, `x is defined in z`: what comes next is no argument.
            if !(isName("if") || isName("in") || isName("not")) {
                arguments.positional = [try nested { try $0.postfix(try $0.primary()) }]
            }
        }
        let test = JinjaExpression.test(value, name, arguments)
        return isNegated ? .unary("not", test) : test
    }
}

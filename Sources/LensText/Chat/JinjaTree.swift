// What a template is parsed into.

/// An expression.
indirect enum JinjaExpression: Sendable {
    case literal(JinjaValue)
    case name(String)
    case list([JinjaExpression], isTuple: Bool)
    case dict([(JinjaExpression, JinjaExpression)])
    case member(JinjaExpression, String)
    case item(JinjaExpression, JinjaExpression)
    case slice(JinjaExpression, JinjaExpression?, JinjaExpression?, JinjaExpression?)
    case call(JinjaExpression, JinjaArguments)
    case filter(JinjaExpression, String, JinjaArguments)
    case test(JinjaExpression, String, JinjaArguments)
    case unary(String, JinjaExpression)
    case binary(String, JinjaExpression, JinjaExpression)
    /// `a < b <= c`: the first, and operators with what follows them.
    case compare(JinjaExpression, [(String, JinjaExpression)])
    case concat([JinjaExpression])
    case and(JinjaExpression, JinjaExpression)
    case or(JinjaExpression, JinjaExpression)
    case choice(JinjaExpression, then: JinjaExpression, otherwise: JinjaExpression?)
}

/// The arguments of a call, as they are written.
struct JinjaArguments: Sendable {
    var positional: [JinjaExpression] = []
    var named: [(name: String, value: JinjaExpression)] = []
    /// `*list` and `**dict`.
    var list: JinjaExpression?
    var dict: JinjaExpression?
}

/// Where a value is put.
enum JinjaTarget: Sendable {
    case name(String)
    case member(String, String)
    case several([JinjaTarget])
}

/// A macro or a call block: its parameters and body.
struct JinjaMacroTree: Sendable {
    var name: String
    var parameters: [(name: String, standard: JinjaExpression?)]
    var body: [JinjaNode]
}

/// A part of a template, with its line.
struct JinjaNode: Sendable {
    indirect enum Kind: Sendable {
        case text(String)
        case output(JinjaExpression)
        case choice([(condition: JinjaExpression, body: [JinjaNode])], otherwise: [JinjaNode])
        case loop(JinjaTarget, over: JinjaExpression, condition: JinjaExpression?, body: [JinjaNode], otherwise: [JinjaNode])
        case set(JinjaTarget, JinjaExpression)
        /// The body's text, through filters.
        case setBlock(JinjaTarget, [(String, JinjaArguments)], [JinjaNode])
        case macro(JinjaMacroTree)
        case call(JinjaExpression, JinjaMacroTree)
        case filter([(String, JinjaArguments)], [JinjaNode])
        case with([(JinjaTarget, JinjaExpression)], [JinjaNode])
        case scope([JinjaNode])
        case breakLoop
        case continueLoop
    }

    var kind: Kind
    var line: Int
}

// Which parameters' gradients are wanted, by TransformerLens' names; and the parameters as values of the graph.

import LensFiles
import LensHooks
import LensTensor

/// Which parameters a run with gradients is asked about.
///
/// As a string: a name (`blocks.0.attn.W_Q`), a glob over names (`blocks.*.mlp.*`) or `all`.
public struct ParameterFilter: Sendable, ExpressibleByStringLiteral, ExpressibleByArrayLiteral {
    private enum Rule: Sendable {
        case pattern(String)
        case predicate(@Sendable (String) -> Bool)
    }
    private let rules: [Rule]
    var isNone: Bool { rules.isEmpty }

    private init(_ rules: [Rule]) { self.rules = rules }

    /// Every parameter the model holds.
    public static var all: ParameterFilter { ParameterFilter([.pattern("*")]) }
    /// None.
    public static var none: ParameterFilter { ParameterFilter([]) }
    /// Those that one of `patterns` names.
    public static func names(_ patterns: [String]) -> ParameterFilter {
        ParameterFilter(patterns.map { .pattern($0 == "all" ? "*" : $0) })
    }
    /// Those whose name `predicate` accepts.
    public static func matching(_ predicate: @escaping @Sendable (String) -> Bool) -> ParameterFilter { ParameterFilter([.predicate(predicate)]) }

    public init(stringLiteral value: String) { self = .names([value]) }
    public init(arrayLiteral elements: String...) { self = .names(elements) }

    /// The names it picks of the parameters that a model holds, in TransformerLens' order.
    ///
    /// Tied embeddings are one parameter, `unembed.W_U`, also where the filter says `embed.W_E`. Biases that a model does not
    /// have are no parameters, though TransformerLens keeps zeros for them; nor are the two numbers of an xIELU that are fixed.
    /// - Throws: `LensError(.name)` for a pattern that picks nothing; `LensError(.usage)` for the name of an absent bias.
    public func resolve(in parameters: Parameters) throws -> [String] {
        var chosen: Set<String> = []
        for rule in rules {
            switch rule {
            case .predicate(let predicate): chosen.formUnion(parameters.names.filter(predicate))
            case .pattern(let pattern):
                let matched = parameters.names.filter { globMatches(pattern, $0) }
                guard !matched.isEmpty else {
                    throw LensError(.name, "no such parameter", at: pattern,
                                    advice: nearestName(to: pattern, among: parameters.names).map { "did you mean \($0)?" })
                }
                if matched == [pattern], parameters.heldName(of: pattern) == nil {
                    throw LensError(.usage, "the gradient of a bias that the model does not have", at: pattern, advice: "give it zeros with `with(_:_:)` first")
                }
                chosen.formUnion(matched)
            }
        }
        let held = Set(chosen.compactMap(parameters.heldName)).filter { !$0.hasSuffix(".act_fn.beta") && !$0.hasSuffix(".act_fn.eps") }
        return parameters.names.filter(held.contains)
    }
}

/// Parameters as values of the graph.
struct TrackedParameters {
    let parameters: Parameters
    /// Each tracked one's name and value, in TransformerLens' order.
    let values: [(name: String, value: GraphValue)]
}

extension Parameters {
    /// The name under which a parameter is held: `unembed.W_U` for tied embeddings; nil for an absent bias.
    func heldName(of name: String) -> String? {
        if holds(name) { return name }
        return name == config.tokenEmbeddingName && config.tiesEmbeddings ? "unembed.W_U" : nil
    }

    /// The parameters with those that `filter` picks tracked. Nothing is copied.
    /// - Throws: as `ParameterFilter.resolve`; `LensError(.usage)` for one that is not kept as float32.
    func tracking(_ filter: ParameterFilter) throws -> TrackedParameters {
        var copy = self
        let values = try filter.resolve(in: self).map { name -> (String, GraphValue) in
            let value: GraphValue?
            switch self.values[name] {
            case .tensor(let tensor)?:
                let tracked = tensor.detached().tracked()
                (copy.values[name], value) = (.tensor(tracked), tracked.graph)
            case .matrix(let matrix)? where matrix.format == .float32:
                let tracked = matrix.tracked()
                (copy.values[name], value) = (.matrix(tracked), tracked.graph)
            case .matrix(let matrix)?, .table(let matrix)?:
                throw LensError(.usage, "the gradient of a parameter that is not kept as float32", at: name, found: matrix.format.rawValue,
                                advice: "load the model with float32 weights, or ask for activations' gradients only")
            case nil: value = nil
            }
            guard let value else { throw LensError(.weights, "missing parameter", at: name) } // unreachable: it is held
            return (name, value)
        }
        return TrackedParameters(parameters: copy, values: values)
    }

    /// A gradient as the graph has it, of the shape in which a parameter is packed, in TransformerLens' shape; zeros for nil.
    func shaped(_ gradient: Tensor?, _ name: String) throws -> Tensor {
        guard let spec = specs[name] else { throw LensError(.name, "no such parameter", at: name) }
        guard let gradient else { return Tensor(zeros: spec.shape) }
        switch spec.kind {
        case .plain, .matrix, .headsIn: return try gradient.reshaped(spec.shape)
        case .linear: return try gradient.permuted(1, 0).contiguous()
        case .headsOut: return try gradient.reshaped([spec.shape[1], spec.shape[0], spec.shape[2]]).permuted(1, 0, 2).contiguous()
        }
    }
}

// An affine map between hidden spaces: x·W + b. Fitted by least squares on activations of the same tokens in two layers or
// two models (Ghandeharioun et al., 2024, section 3), saved and loaded as safetensors.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// `x·weight + bias`, for rows x.
public struct AffineMap: Sendable {
    /// `[d_in, d_out]`
    public let weight: Tensor
    /// `[d_out]`
    public let bias: Tensor?
    private let packed: PackedMatrix

    /// - Throws: `LensError(.shape)` if the parts do not fit.
    public init(weight: Tensor, bias: Tensor? = nil) throws {
        guard weight.rank == 2, bias.map({ $0.shape == [weight.shape[1]] }) ?? true else {
            throw LensError(.shape, "affine map", expected: "a weight [d_in, d_out] and a bias [d_out]",
                            found: "\(weight.shape)" + (bias.map { " and \($0.shape)" } ?? ""))
        }
        self.weight = weight
        self.bias = bias
        packed = try PackedMatrix(weight.contiguous())
    }

    /// `rows: [..., d_in]` to `[..., d_out]`.
    public func callAsFunction(_ rows: Tensor) throws -> Tensor {
        guard rows.shape.last == weight.shape[0] else {
            throw LensError(.shape, "input of an affine map", expected: "rows of \(weight.shape[0])", found: "\(rows.shape)")
        }
        return try packed.product(rows, epilogue: Epilogue(bias: bias)).out
    }

    /// The map that takes rows of `from` nearest to those of `to` (least squares, in double precision).
    ///
    /// - Parameters:
    ///   - from: `[n, d_in]`
    ///   - to: `[n, d_out]`
    ///   - ridge: added to the variance of every input direction, relative to their mean: keeps a fit on few rows small.
    /// - Throws: `LensError(.shape)` if the rows do not fit, `(.usage)` for fewer than two.
    public static func fit(from: Tensor, to: Tensor, ridge: Double = 1e-6) throws -> AffineMap {
        guard from.rank == 2, to.rank == 2, from.shape[0] == to.shape[0] else {
            throw LensError(.shape, "rows to fit a map to", expected: "[n, d_in] and [n, d_out]", found: "\(from.shape) and \(to.shape)")
        }
        guard from.shape[0] > 1, ridge >= 0 else { throw LensError(.usage, "too few rows to fit a map to", expected: "at least 2", found: "\(from.shape[0])") }
        var system = LeastSquares(inputs: from.shape[1], outputs: to.shape[1])
        try system.add(from: from, to: to)
        let (weight, bias) = try system.solve(ridge: ridge)
        return try AffineMap(weight: Tensor(weight.map { Float($0) }, shape: [from.shape[1], to.shape[1]]),
                             bias: Tensor(bias.map { Float($0) }, shape: [to.shape[1]]))
    }

    /// A map between layers of two models, fitted on prompts that are the same tokens to both.
    ///
    /// - Parameter site: the stream on both sides, `[batch, pos, d_model]`.
    public static func fit(from source: Transformer, layer: Int, to target: Transformer, layer targetLayer: Int, prompts: [[Int]],
                           site: HookSite = .residPost, ridge: Double = 1e-6) throws -> AffineMap {
        let a = HookPoint(site, layer: layer).name, b = HookPoint(site, layer: targetLayer).name
        var from: [Tensor] = [], to: [Tensor] = []
        for prompt in prompts {
            let tokens = Transformer.Input.tokens(try IntTensor(rows: [prompt]))
            from.append(try source.run(tokens, .init(cache: .names([a]), returnType: .none)).cache[a].at(.at(0)))
            to.append(try target.run(tokens, .init(cache: .names([b]), returnType: .none)).cache[b].at(.at(0)))
        }
        guard !prompts.isEmpty else { throw LensError(.usage, "no prompts to fit a map on") }
        return try fit(from: Tensor(joining: from, axis: 0), to: Tensor(joining: to, axis: 0), ridge: ridge)
    }

    // MARK: Files

    /// Writes `weight` and `bias` to a safetensors file.
    public func save(to path: String) throws {
        var contents = [try TensorContent("weight", shape: weight.shape, weight.array)]
        if let bias { contents.append(try TensorContent("bias", shape: bias.shape, bias.array)) }
        try SafetensorsWriter.write(contents, to: path)
    }

    /// From a safetensors or npz file with `weight` `[d_in, d_out]` and, if there is one, `bias` `[d_out]`.
    public init(contentsOf path: String) throws {
        let file = try openTensors(at: path)
        do {
            try self.init(weight: Tensor(stored: "weight", in: file), bias: file.entry("bias") == nil ? nil : Tensor(stored: "bias", in: file))
        } catch let error as LensError { throw error.location?.hasPrefix(path) == true ? error : error.located(in: path) }
    }
}

/// Normal equations of a least-squares problem with a constant, centred, solved by Cholesky's decomposition.
private struct LeastSquares {
    let inputs: Int, outputs: Int
    private var count = 0
    private var meanX: [Double], meanY: [Double]
    private var xx: [Double], xy: [Double]

    init(inputs: Int, outputs: Int) {
        self.inputs = inputs
        self.outputs = outputs
        meanX = Array(repeating: 0, count: inputs)
        meanY = Array(repeating: 0, count: outputs)
        xx = Array(repeating: 0, count: inputs * inputs)
        xy = Array(repeating: 0, count: inputs * outputs)
    }

    mutating func add(from: Tensor, to: Tensor) throws {
        let x = from.array.map(Double.init), y = to.array.map(Double.init), n = from.shape[0]
        count = n
        for row in 0..<n {
            for i in 0..<inputs { meanX[i] += x[row * inputs + i] / Double(n) }
            for j in 0..<outputs { meanY[j] += y[row * outputs + j] / Double(n) }
        }
        for row in 0..<n {
            for i in 0..<inputs {
                let centred = x[row * inputs + i] - meanX[i]
                for k in 0...i { xx[i * inputs + k] += centred * (x[row * inputs + k] - meanX[k]) }
                for j in 0..<outputs { xy[i * outputs + j] += centred * (y[row * outputs + j] - meanY[j]) }
            }
        }
    }

    /// - Throws: `LensError(.usage)` if the rows hold what is no number.
    func solve(ridge: Double) throws -> (weight: [Double], bias: [Double]) {
        var l = xx, w = xy
        let n = inputs, mean = (0..<n).reduce(0) { $0 + xx[$1 * n + $1] } / Double(max(1, n))
        // At least what rounding needs, so that directions nobody went in get nothing.
        let added = max(ridge, 1e-12) * (mean > 0 ? mean : 1)
        for i in 0..<n {
            for k in 0...i {
                var sum = l[i * n + k] + (i == k ? added : 0)
                for m in 0..<k { sum -= l[i * n + m] * l[k * n + m] }
                guard i != k || sum > 0 else { throw LensError(.usage, "cannot fit a map to these rows", found: "values that are no numbers") }
                l[i * n + k] = i == k ? sum.squareRoot() : sum / l[k * n + k]
            }
        }
        for j in 0..<outputs {
            for i in 0..<n {
                var sum = w[i * outputs + j]
                for k in 0..<i { sum -= l[i * n + k] * w[k * outputs + j] }
                w[i * outputs + j] = sum / l[i * n + i]
            }
            for i in stride(from: n - 1, through: 0, by: -1) {
                var sum = w[i * outputs + j]
                for k in i + 1..<max(n, i + 1) { sum -= l[k * n + i] * w[k * outputs + j] }
                w[i * outputs + j] = sum / l[i * n + i]
            }
        }
        let bias = (0..<outputs).map { j in (0..<n).reduce(meanY[j]) { $0 - meanX[$1] * w[$1 * outputs + j] } }
        return (w, bias)
    }
}

// What singular vectors of a model's matrices say about tokens (Millidge and Black, "The Singular Value Decompositions of
// Transformer Weight Matrices are Highly Interpretable"): the vectors in the residual stream, unembedded.

import LensFiles
import LensModel
import LensTensor

/// Singular vectors of OV circuits and MLP weights, in the vocabulary (TransformerLens' `SVDInterpreter`).
public struct SVDInterpreter: Sendable {
    private let model: Transformer

    public init(_ model: some HasTransformer) { self.model = model.model }

    /// Whose singular vectors.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// A head's W_V·W_O: what it writes.
        case OV
        /// W_in: what neurons read. A norm that is not folded is counted in.
        case wIn = "w_in"
        /// W_out: what neurons write.
        case wOut = "w_out"
    }

    /// The first singular vectors on the side of the residual stream, unembedded: `[d_vocab_out, 1, numVectors]`. Their signs
    /// are LAPACK's: both ends of a vector mean something.
    /// - Parameter head: for OV.
    /// - Throws: `LensError(.usage)` for no such layer or head or more vectors than there are; as `svd`.
    public func getSingularVectors(_ kind: Kind, layer: Int, numVectors: Int = 10, head: Int? = nil) throws -> Tensor {
        let vectors = try streamVectors(kind, layer: layer, head: head), available = vectors.shape[1]
        guard (0...available).contains(numVectors) else {
            throw LensError(.usage, "more singular vectors than there are", expected: "at most \(available)", found: "\(numVectors)")
        }
        let rows = try vectors.at(.all, .upTo(numVectors)).permuted(1, 0)
        // [vector, d_vocab_out] turned.
        return try rows.matmul(model.W_U).permuted(1, 0).reshaped([model.config.dVocabOut, 1, numVectors])
    }

    /// The singular values, `[n]` falling.
    public func singularValues(_ kind: Kind, layer: Int, head: Int? = nil) throws -> Tensor { try matrix(kind, layer: layer, head: head).svd().S }

    /// The right singular vectors, in the residual stream: `[d_model, n]`.
    private func streamVectors(_ kind: Kind, layer: Int, head: Int?) throws -> Tensor { try matrix(kind, layer: layer, head: head).svd().V }

    /// The matrix with the residual stream on its right.
    private func matrix(_ kind: Kind, layer: Int, head: Int?) throws -> FactoredMatrix {
        switch kind {
        case .OV:
            guard let head, (0..<model.config.nHeads).contains(head) else {
                throw LensError(.usage, "OV needs a head", expected: "0..<\(model.config.nHeads)", found: head.map { "\($0)" } ?? "none")
            }
            return try model.OV[layer, head]
        case .wOut: return try whole(model.W_out[layer])
        case .wIn:
            var weights = try model.W_in[layer]
            if let norm = model.config.inputNorm, norm.hasWeights {
                let scale = try model.weightStack("ln2.w")[layer]
                weights = try weights * scale.reshaped([scale.count, 1])
            }
            return try whole(weights.permuted(1, 0).contiguous())
        }
    }

    /// A plain matrix as a factored one: the identity on its smaller side.
    private func whole(_ matrix: Tensor) throws -> FactoredMatrix {
        let (rows, columns) = (matrix.shape[0], matrix.shape[1]), size = min(rows, columns)
        var identity = Tensor(zeros: [size, size])
        for index in 0..<size { try identity.set(.at(index), .at(index), to: 1) }
        return rows <= columns ? try FactoredMatrix(identity, matrix) : try FactoredMatrix(matrix, identity)
    }
}

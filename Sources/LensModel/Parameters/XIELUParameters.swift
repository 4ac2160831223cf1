// The four numbers that each layer of a model with xIELU has learned, under TransformerLens' names (`mlp.act_fn.alpha_p`).

import LensTensor

extension XIELU {
    /// The numbers as they are kept; TransformerLens' and Hugging Face's defaults where they are not.
    init(_ parameters: Parameters, _ prefix: String) throws {
        func number(_ name: String, _ fallback: Float) -> Tensor {
            parameters.tensor("\(prefix).act_fn.\(name)") ?? Tensor(fallback)
        }
        try self.init(alphaP: number("alpha_p", Self.alphaPDefault), alphaN: number("alpha_n", Self.alphaNDefault),
                      beta: number("beta", 0.5).item(), eps: number("eps", -1e-6).item())
    }
}

// Mechanisms that several families spell the same way in their `config.json`.

import LensFiles
import LensModel
import LensTensor

extension ConfigReader {
    /// An activation function by Hugging Face's name.
    /// - Throws: `LensError(.config)` for an unknown one.
    func activation(_ key: String, default fallback: String) throws -> Activation {
        switch try string(key, default: fallback) {
        case "relu": return .relu
        case "gelu", "gelu_python": return .gelu
        case "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh": return .geluNew
        case "gelu_fast": return .geluFast
        case "silu", "swish": return .silu
        default: throw invalid(key, expected: "one of relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu")
        }
    }

    /// Rotary embedding, in the old spelling (`rope_theta`, `rope_scaling`) or the new (`rope_parameters`).
    /// - Parameter dim: channels that turn, before `partial_rotary_factor`.
    /// - Throws: `LensError(.config)` for an unknown kind of scaling or a missing factor.
    func rotary(dim: Int) throws -> Rotary {
        let topBase = try value("rope_theta")?.asDouble(at: "\(location): rope_theta")
        let topFactor = try double("partial_rotary_factor", default: 1)
        let old = try nested("rope_scaling"), new = try nested("rope_parameters")
        guard let details = new ?? old else {
            return Rotary(dim: try rotaryDim(dim, topFactor), base: topBase ?? 10_000)
        }
        let factor = try details.double("partial_rotary_factor", default: topFactor)
        let base = try details.double("rope_theta", default: topBase ?? 10_000)
        let type = try details.string(details.has("rope_type") ? "rope_type" : "type", default: "default")
        _ = details.value("type")
        let scaling: Rotary.Scaling
        switch type {
        case "default": scaling = .none
        case "linear": scaling = .linear(factor: try details.positive("factor"))
        case "llama3":
            scaling = .llama3(factor: try details.positive("factor"), lowFrequencyFactor: try details.positive("low_freq_factor"),
                              highFrequencyFactor: try details.positive("high_freq_factor"),
                              originalContext: try details.int("original_max_position_embeddings"))
        default: throw details.invalid("rope_type", expected: "one of default, linear, llama3")
        }
        try details.finish()
        return Rotary(dim: try rotaryDim(dim, factor), base: base, scaling: scaling)
    }

    /// The channels that turn, out of `dim`.
    private func rotaryDim(_ dim: Int, _ factor: Double) throws -> Int {
        guard let turning = Int(exactly: (Double(dim) * factor).rounded(.towardZero)) else {
            throw LensError(.config, "impossible rotary embedding", at: "\(location): partial_rotary_factor",
                            expected: "a number up to 1", found: "\(factor)")
        }
        return turning
    }

    /// A number above zero.
    func positive(_ key: String) throws -> Double {
        let number = try double(key)
        guard number > 0, number.isFinite else { throw invalid(key, expected: "a number above 0") }
        return number
    }
}

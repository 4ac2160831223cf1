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
    /// - Parameters:
    ///   - dim: channels that turn, before the factor.
    ///   - baseKey, factorKey: what older files of the family call them.
    ///   - defaultFactor: the part of `dim` that turns where no file says; defaultBase likewise.
    /// - Throws: `LensError(.config)` for an unknown kind of scaling or a missing factor.
    func rotary(dim: Int, baseKey: String = "rope_theta", factorKey: String = "partial_rotary_factor", defaultFactor: Double = 1,
                defaultBase: Double = 10_000) throws -> Rotary {
        let base = try value(baseKey)?.asDouble(at: "\(location): \(baseKey)") ?? defaultBase
        let factor = try double(factorKey, default: defaultFactor)
        let old = try nested("rope_scaling"), new = try nested("rope_parameters")
        if old != nil, new != nil {
            throw LensError(.config, "two spellings of rotary embedding", at: "\(location): rope_scaling",
                            expected: "rope_scaling or rope_parameters", advice: "remove the one that is not meant")
        }
        guard let details = new ?? old else { return Rotary(dim: try rotaryDim(dim, factor), base: base) }
        return try details.rotaryDetails(dim: dim, base: base, factor: factor)
    }

    /// The object of `rope_parameters` or `rope_scaling`, read to its end.
    func rotaryDetails(dim: Int, base topBase: Double, factor topFactor: Double = 1) throws -> Rotary {
        let factor = try double("partial_rotary_factor", default: topFactor), base = try double("rope_theta", default: topBase)
        let type = try string(has("rope_type") ? "rope_type" : "type", default: "default")
        _ = value("type")
        let scaling: Rotary.Scaling
        switch type {
        case "default": scaling = .none
        case "linear": scaling = .linear(factor: try positive("factor"))
        case "llama3":
            scaling = .llama3(factor: try positive("factor"), lowFrequencyFactor: try positive("low_freq_factor"),
                              highFrequencyFactor: try positive("high_freq_factor"),
                              originalContext: try int("original_max_position_embeddings"))
        default: throw invalid("rope_type", expected: "one of default, linear, llama3")
        }
        try finish()
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

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
        case "xielu": return .xielu
        default: throw invalid(key, expected: "one of relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, silu, xielu")
        }
    }

    /// A number above zero.
    func positive(_ key: String) throws -> Double {
        let number = try double(key)
        guard number > 0, number.isFinite else { throw invalid(key, expected: "a number above 0") }
        return number
    }
}

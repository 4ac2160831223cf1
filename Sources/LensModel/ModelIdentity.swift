// Whose a key-value cache is. In memory a model value is told by its identity, which copies share; across files by a
// fingerprint of its configuration and every parameter, computed when a cache is saved or loaded.

import LensFiles
import LensTensor
import Synchronization

/// What tells one model value from another: made with it, shared by its copies.
final class ModelIdentity: Sendable {
    private let known = Mutex<String?>(nil)

    /// The fingerprint, computed once.
    func fingerprint(_ compute: () throws -> String) rethrows -> String {
        if let fingerprint = known.withLock({ $0 }) { return fingerprint }
        let fingerprint = try compute()
        known.withLock { $0 = fingerprint }
        return fingerprint
    }

    /// The fingerprint, if someone has asked for it.
    var knownFingerprint: String? { known.withLock { $0 } }
}

extension Transformer {
    /// A fingerprint of configuration and parameters, 16 hexadecimal digits: equal for two loads of one checkpoint, different
    /// after any change of a weight, or of what activations are in products. Reads every parameter once; remembered.
    public func fingerprint() throws -> String {
        try identity.fingerprint {
            var hash = Fingerprint()
            try config.hookedTransformerConfig.utf8().withUnsafeBytes { hash.add($0) }
            if parameters.activations != .float32 { hash.add(parameters.activations.rawValue.utf8) }
            for name in parameters.names {
                hash.add(name.utf8)
                try parameters[name].withUnsafeElements { hash.add(UnsafeRawBufferPointer($0)) }
            }
            return hash.text
        }
    }
}

/// A 64-bit hash of bytes: four FNV-like lanes of eight bytes, so that it runs at the speed of memory. Against mistakes, not
/// malice.
private struct Fingerprint {
    private var lanes: SIMD4<UInt64> = [0xCBF2_9CE4_8422_2325, 0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB]

    mutating func add(_ text: String.UTF8View) { Array(text).withUnsafeBytes { add($0) } }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        let whole = bytes.count / 32
        for block in 0..<whole {
            let words = bytes.loadUnaligned(fromByteOffset: block * 32, as: SIMD4<UInt64>.self)
            lanes = (lanes ^ words) &* 0x0000_0100_0000_01B3
            lanes ^= lanes &>> 29
        }
        for index in whole * 32..<bytes.count {
            lanes[index % 4] = (lanes[index % 4] ^ UInt64(bytes[index])) &* 0x0000_0100_0000_01B3
        }
        lanes[0] = (lanes[0] ^ UInt64(bytes.count)) &* 0x0000_0100_0000_01B3
    }

    var text: String {
        var word: UInt64 = 0
        for lane in 0..<4 {
            word = (word ^ lanes[lane]) &* 0xBF58_476D_1CE4_E5B9
            word ^= word &>> 31
        }
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

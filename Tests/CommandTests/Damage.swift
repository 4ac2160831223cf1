// Damage, the same every time: bytes of a file changed, and values of a JSON document replaced.

import LensFiles

/// A generator of the same numbers every time (SplitMix64).
struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// `bytes` with one to three accidents: flipped, replaced, cut off, taken out, doubled, digits changed. Half of them fall
/// into the first `structured` bytes, where lengths and offsets are.
func damaged(_ bytes: [UInt8], structured: Int, _ random: inout Random) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
        let limit = Bool.random(using: &random) ? min(structured, bytes.count) : bytes.count
        let at = Int.random(in: 0..<max(1, limit), using: &random)
        let to = min(bytes.count, at + Int.random(in: 1..<40, using: &random))
        switch Int.random(in: 0..<7, using: &random) {
        case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.removeSubrange(at...)
        case 3: bytes.removeSubrange(at..<to)
        case 4: bytes.insert(contentsOf: bytes[at..<to], at: at)
        case 5: bytes[at] = Array("0123456789\"{}[],:-.e\\ ".utf8).randomElement(using: &random) ?? 0
        default:
            guard let first = bytes[at...].firstIndex(where: { (0x30...0x39).contains($0) }) else { continue }
            let numbers = ["0", "-1", "9", "99", "1e9", "1.5", "4294967296", "9223372036854775807", "1e308"]
            bytes.replaceSubrange(first...first, with: (numbers.randomElement(using: &random) ?? "0").utf8)
        }
    }
    return bytes
}

/// What a value of a configuration can be replaced by: each type, and numbers at the edge of something.
let hostileValues: [JSON] = [
    nil, true, false, 0, 1, 2, 3, -1, -7, 97, 1_000_000, 1_000_000_000, 2_147_483_648, 4_611_686_018_427_387_904, .int(.max), .int(.min),
    0.5, 1e-300, 1e308, -1e308, .double(.nan), .double(.infinity), "", "x", "gelu", [], [1], [:], ["a": 1], ["rope_type": "linear", "factor": 0],
]

/// Every document that `json`'s members allow by taking one away, and by replacing one by each hostile value; members of
/// members too.
func hostileVersions(of json: JSON) -> [(change: String, json: JSON)] {
    guard case .object(let object) = json else { return [] }
    var versions: [(change: String, json: JSON)] = []
    func add(_ change: String, _ key: String, _ value: JSON?) {
        var copy = object
        copy[key] = value
        versions.append((change, .object(copy)))
    }
    for (key, value) in object.pairs {
        add("without \(key)", key, nil)
        for other in hostileValues where other != value { add("\(key): \(other.summary)", key, other) }
        for inner in hostileVersions(of: value) { add("\(key).\(inner.change)", key, inner.json) }
    }
    add("an unknown key", "n_lairs", 3)
    return versions
}

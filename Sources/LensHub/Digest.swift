// SHA-1 and SHA-256 (FIPS 180-4), to check what the hub sends: it names large files by the SHA-256 of their content, small ones
// by git's SHA-1 of "blob SIZE\0" and the content. Sixty lines instead of a cryptography library: nothing here is secret.

import LensFiles

/// A hash over bytes given piece by piece.
struct Digest {
    enum Kind { case sha1, sha256 }

    private let kind: Kind
    private var state: [UInt32]
    private var schedule: [UInt32]
    private var pending: [UInt8] = []
    private var length: UInt64 = 0

    init(_ kind: Kind) {
        self.kind = kind
        switch kind {
        case .sha1:
            state = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
            schedule = Array(repeating: 0, count: 80)
        case .sha256:
            state = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19]
            schedule = Array(repeating: 0, count: 64)
        }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        length += UInt64(bytes.count)
        var start = 0
        if !pending.isEmpty {
            start = min(64 - pending.count, bytes.count)
            pending.append(contentsOf: bytes[..<start])
            guard pending.count == 64 else { return }
            let block = pending
            block.withUnsafeBytes { mix($0) }
            pending.removeAll(keepingCapacity: true)
        }
        while bytes.count - start >= 64 {
            mix(UnsafeRawBufferPointer(rebasing: bytes[start..<start + 64]))
            start += 64
        }
        pending.append(contentsOf: bytes[start...])
    }

    mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The hash in lower-case hexadecimal.
    consuming func hex() -> String {
        let bits = length &* 8
        var tail: [UInt8] = [0x80]
        while (pending.count + tail.count) % 64 != 56 { tail.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) { tail.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }
        update(tail)
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    private mutating func mix(_ block: UnsafeRawBufferPointer) {
        for index in 0..<16 { schedule[index] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)) }
        kind == .sha1 ? mixSHA1() : mixSHA256()
    }

    private mutating func mixSHA1() {
        schedule.withUnsafeMutableBufferPointer { w in
            for i in 16..<80 { w[i] = Self.rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1) }
            var a = state[0], b = state[1], c = state[2], d = state[3], e = state[4]
            for i in 0..<80 {
                let f: UInt32, k: UInt32
                switch i / 20 {
                case 0: (f, k) = (b & c | ~b & d, 0x5A82_7999)
                case 1: (f, k) = (b ^ c ^ d, 0x6ED9_EBA1)
                case 2: (f, k) = (b & c | b & d | c & d, 0x8F1B_BCDC)
                default: (f, k) = (b ^ c ^ d, 0xCA62_C1D6)
                }
                let next = Self.rotate(a, 5) &+ f &+ e &+ k &+ w[i]
                (e, d, c, b, a) = (d, c, Self.rotate(b, 30), a, next)
            }
            state[0] &+= a
            state[1] &+= b
            state[2] &+= c
            state[3] &+= d
            state[4] &+= e
        }
    }

    private mutating func mixSHA256() {
        schedule.withUnsafeMutableBufferPointer { w in
            for i in 16..<64 {
                let s0 = Self.rotate(w[i - 15], 25) ^ Self.rotate(w[i - 15], 14) ^ w[i - 15] >> 3
                let s1 = Self.rotate(w[i - 2], 15) ^ Self.rotate(w[i - 2], 13) ^ w[i - 2] >> 10
                w[i] = w[i - 16] &+ s0 &+ w[i - 7] &+ s1
            }
            var a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7]
            Self.constants.withUnsafeBufferPointer { k in
                for i in 0..<64 {
                    let s1 = Self.rotate(e, 26) ^ Self.rotate(e, 21) ^ Self.rotate(e, 7)
                    let t1 = h &+ s1 &+ (e & f ^ ~e & g) &+ k[i] &+ w[i]
                    let s0 = Self.rotate(a, 30) ^ Self.rotate(a, 19) ^ Self.rotate(a, 10)
                    let t2 = s0 &+ (a & b ^ a & c ^ b & c)
                    (h, g, f, e, d, c, b, a) = (g, f, e, d &+ t1, c, b, a, t1 &+ t2)
                }
            }
            for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
        }
    }

    @inline(__always) private static func rotate(_ word: UInt32, _ bits: UInt32) -> UInt32 { word << bits | word >> (32 - bits) }

    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = [
        0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1, 0x923F_82A4, 0xAB1C_5ED5,
        0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3, 0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174,
        0xE49B_69C1, 0xEFBE_4786, 0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
        0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147, 0x06CA_6351, 0x1429_2967,
        0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13, 0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85,
        0xA2BF_E8A1, 0xA81A_664B, 0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
        0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A, 0x5B9C_CA4F, 0x682E_6FF3,
        0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208, 0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
    ]
}

extension Digest {
    /// Whether a file's content is what its etag on the hub says: SHA-256 of large files, git's SHA-1 of small ones. Other etags
    /// say nothing.
    static func matches(file path: String, etag: String) throws -> Bool {
        let kind: Kind? = [40: .sha1, 64: .sha256][etag.utf8.count]
        guard let kind, etag.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else { return true }
        let file = try DataFile(path: path)
        var digest = Digest(kind)
        if kind == .sha1 { digest.update(Array("blob \(file.size)\0".utf8)) }
        var offset = 0
        while offset < file.size {
            let count = min(1 << 20, file.size - offset)
            digest.update(try file.read(offset..<offset + count))
            offset += count
        }
        return digest.hex() == etag
    }
}

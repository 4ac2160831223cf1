// The Unicode tables and the scanners over them.
import Testing
@testable import LensText

@Suite struct UnicodeTests {
    /// Where the standard library's Unicode knows a scalar, the committed table must say the same category. Newer
    /// scalars may be unknown to one of the two; assigned ones hardly ever change.
    @Test func categoriesAgreeWithTheStandardLibrary() {
        var different = 0, compared = 0
        for value in UInt32(0)..<0x110000 {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let ours = ScalarClasses.of(value).category, theirs = category(scalar.properties.generalCategory)
            if ours == .Cn || theirs == .Cn { continue }
            compared += 1
            if ours != theirs { different += 1 }
            if ScalarClasses.of(value).has(ScalarClass.space) != scalar.properties.isWhitespace { different += 1_000 }
        }
        #expect(compared > 280_000)
        #expect(different < 20, "\(different) of \(compared)")
    }

    @Test func classes() {
        #expect(ScalarClasses.of(0x41).has(ScalarClass.letter) && ScalarClasses.of(0x41).category == .Lu)
        #expect(ScalarClasses.of(0xBD).has(ScalarClass.number) && ScalarClasses.of(0xBD).has(ScalarClass.numeric))
        #expect(ScalarClasses.of(0x301).has(ScalarClass.word) && !ScalarClasses.of(0x301).has(ScalarClass.letter))
        #expect(ScalarClasses.of(0x5F).has(ScalarClass.word) && ScalarClasses.of(0x2F).has(ScalarClass.punctuation))
        #expect(ScalarClasses.of(0x10FFFF).category == .Cn && ScalarClasses.of(0xFFFF_FFFF).category == .Cn)
    }

    @Test func byteAlphabetIsOneToOne() {
        #expect(Set(ByteAlphabet.scalars).count == 256)
        for byte in 0..<256 { #expect(ByteAlphabet.byte(of: ByteAlphabet.scalars[byte]) == UInt8(byte)) }
        #expect(ByteAlphabet.byte(of: 0x20) == nil && ByteAlphabet.byte(of: 0x144) == nil)
        #expect(ByteAlphabet.scalars[0x20] == 0x120 && ByteAlphabet.scalars[0xAD] == 0x143)
    }

    @Test func scalarsForwardsAndBackwards() {
        let text = "a\u{7F}\u{80}é\u{7FF}\u{800}▁\u{FFFF}\u{10000}👍\u{10FFFF}"
        let bytes = Array(text.utf8), scalars = text.unicodeScalars.map(\.value)
        bytes.withUnsafeBufferPointer { bytes in
            var forwards: [UInt32] = [], backwards: [UInt32] = [], index = 0
            while index < bytes.count {
                let next = scalar(bytes, at: index)
                forwards.append(next.value)
                #expect(next.length == scalarLength(bytes[index]))
                index += next.length
            }
            while index > 0 {
                let previous = scalar(bytes, before: index)
                backwards.append(previous.value)
                index -= previous.length
            }
            #expect(forwards == scalars && backwards == scalars.reversed())
        }
    }

    private func category(_ found: Unicode.GeneralCategory) -> GeneralCategory {
        switch found {
        case .uppercaseLetter: return .Lu
        case .lowercaseLetter: return .Ll
        case .titlecaseLetter: return .Lt
        case .modifierLetter: return .Lm
        case .otherLetter: return .Lo
        case .nonspacingMark: return .Mn
        case .spacingMark: return .Mc
        case .enclosingMark: return .Me
        case .decimalNumber: return .Nd
        case .letterNumber: return .Nl
        case .otherNumber: return .No
        case .connectorPunctuation: return .Pc
        case .dashPunctuation: return .Pd
        case .openPunctuation: return .Ps
        case .closePunctuation: return .Pe
        case .initialPunctuation: return .Pi
        case .finalPunctuation: return .Pf
        case .otherPunctuation: return .Po
        case .mathSymbol: return .Sm
        case .currencySymbol: return .Sc
        case .modifierSymbol: return .Sk
        case .otherSymbol: return .So
        case .spaceSeparator: return .Zs
        case .lineSeparator: return .Zl
        case .paragraphSeparator: return .Zp
        case .control: return .Cc
        case .format: return .Cf
        case .privateUse: return .Co
        case .surrogate: return .Cs
        case .unassigned: return .Cn
        @unknown default: return .Cn
        }
    }
}

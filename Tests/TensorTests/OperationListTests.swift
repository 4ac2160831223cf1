// No operation may lose a gradient unseen: every function of LensTensor that gives a tensor is among the pullback cases, has
// suites of its own, or is named here with the reason why it needs no gradient. A new function fails this test until it is.

import Foundation
import LensTensor
import Testing

@Suite struct OperationListTests {
    /// Products, attention and its cache (AttentionGradientTests, LinearGradientTests and the tests of models), and the loss of
    /// training (TrainingTests).
    static let triedElsewhere: Set<String> = [
        "product", "updateColumns", "gatherColumns", "unpacked", "attention", "keys", "values", "replacingKeys", "append", "truncate", "drop", "selecting",
        "meanCrossEntropy",
    ]
    /// What tracks, what gradients are made with, and what gives elements to be read.
    static let withoutGradient: [String: String] = [
        "products": "one by one where they are recorded", "gatedProduct": "the same",
        "tracked": "another name of the same", "detached": "a constant, by name",
        "attached": "how an outcome gets its node", "recorded": "the same",
        "gradients": "the reverse pass", "first": "what a pullback reads",
        "argmax": "indices", "update": "an optimizer's step, in place",
        "transposed": "packed weights, while a model is made", "rewritten": "the same",
        "withUnsafeMutableElements": "refuses what is tracked",
        "read": "what a lens counts, as numbers",
    ]

    /// The declared names of public and package functions whose outcome is a tensor, or which change one.
    private static func declared() throws -> Set<String> {
        let root = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/") + "/Sources/LensTensor"
        let folders = [root, root + "/Gradients"]
        let files = try folders.flatMap { folder in
            try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".swift") }.map { folder + "/" + $0 }
        }
        #expect(files.count > 20)
        var names: Set<String> = []
        for file in files {
            let text = try String(contentsOfFile: file, encoding: .utf8)
            for declaration in text.components(separatedBy: "\n    public ").dropFirst() + text.components(separatedBy: "\n    package ").dropFirst()
                + text.components(separatedBy: "\npublic ").dropFirst() + text.components(separatedBy: "Overload public ").dropFirst() {
                guard let signature = declaration.components(separatedBy: "{").first, let start = signature.range(of: "func ") else { continue }
                let words = signature[..<start.lowerBound].split(separator: " ")
                guard words.allSatisfy({ ["static", "mutating", "prefix"].contains($0) }) else { continue }
                let name = signature[start.upperBound...].prefix { $0 != "(" && $0 != "<" }.trimmingCharacters(in: .whitespaces)
                let outcome = (signature.components(separatedBy: "->").last ?? "").replacingOccurrences(of: "TensorIndex", with: "")
                let gives = signature.contains("->") && ["Tensor", "Result", "KeyValuePages"].contains { outcome.contains($0) }
                if gives || words.contains("mutating") || signature.contains("inout Tensor") { names.insert(name) }
            }
        }
        return names
    }

    @Test func everyOperationIsTriedOrNamed() throws {
        let covered = Set(try PullbackCase.all().flatMap(\.covers)), declared = try Self.declared()
        #expect(declared.contains("softmax") && declared.contains("+") && declared.contains("norm") && declared.contains("set"))
        let listed = covered.union(Self.triedElsewhere).union(Self.withoutGradient.keys)
        #expect(declared.subtracting(listed).sorted() == [], "functions that give a tensor and have no gradient test: add a PullbackCase")
        #expect(covered.subtracting(declared).sorted() == [], "cases of functions that are not there")
    }
}

// Prompts of the indirect object identification task (Wang et al. 2022), made from templates: TransformerLens' `IOIDataset`.

import LensFiles
import LensModel

/// Random prompts that end with the indirect object's name.
public struct IOIDataset: Sendable, Hashable {
    /// A prompt.
    public struct Sample: Sendable, Hashable {
        /// It ends with the indirect object.
        public let text: String
        /// The indirect object's name, which is right, and the subject's; each with a space before it.
        public let indirectObject: String, subject: String

        public init(text: String, indirectObject: String, subject: String) {
            self.text = text
            self.indirectObject = indirectObject
            self.subject = subject
        }
    }

    public static let defaultTemplates = [
        "[A] and [B] went to the [LOCATION] to buy [OBJECT]. [B] handed the [OBJECT] to [A]",
        "Then, [B] and [A] went to the [LOCATION]. [B] gave the [OBJECT] to [A]",
    ]
    public static let defaultNames = ["John", "Mary"]
    public static let defaultNouns: [(placeholder: String, words: [String])] = [
        ("LOCATION", ["store", "market"]), ("OBJECT", ["milk", "eggs", "bread"]),
    ]

    public let samples: [Sample]

    /// - Parameters:
    ///   - templates: `[A]` is the indirect object, which a template must end with, `[B]` the subject; other words in brackets
    ///     are placeholders of `nouns`, all occurrences the same word.
    ///   - symmetric: every prompt is followed by the one with the names exchanged.
    ///   - seed: the same seed gives the same prompts. (3.9 draws from Python's global state, and versions before it drew all
    ///     prompts from one and the same state; here every prompt is another draw of one stream.)
    /// - Throws: `LensError(.usage)` for templates, names or nouns that nothing can be made of.
    public init(templates: [String] = defaultTemplates, names: [String] = defaultNames,
                nouns: [(placeholder: String, words: [String])] = defaultNouns, count: Int = 1000, symmetric: Bool = false, seed: UInt64 = 0) throws {
        guard count > 0, !templates.isEmpty, Set(names).count == names.count, names.count >= 2, nouns.allSatisfy({ !$0.words.isEmpty }) else {
            throw LensError(.usage, "nothing to make prompts of", expected: "templates, two different names, words for every placeholder",
                            found: "\(templates.count) templates, names \(names), \(count) samples")
        }
        if let template = templates.first(where: { !$0.hasSuffix(" [A]") || !$0.contains("[B]") }) {
            throw LensError(.usage, "not a template", expected: "one with [B] that ends with \" [A]\"", found: template)
        }
        var random = SplitMix64(state: seed)
        var samples: [Sample] = []
        for _ in 0..<(symmetric ? count / 2 : count) {
            var template = templates[Int.random(in: 0..<templates.count, using: &random)]
            for (placeholder, words) in nouns {
                template = template.replacing("[\(placeholder)]", with: words[Int.random(in: 0..<words.count, using: &random)])
            }
            let first = Int.random(in: 0..<names.count, using: &random)
            let second = (first + 1 + Int.random(in: 0..<names.count - 1, using: &random)) % names.count
            for (a, b) in symmetric ? [(first, second), (second, first)] : [(first, second)] {
                samples.append(Sample(text: template.replacing("[A]", with: names[a]).replacing("[B]", with: names[b]),
                                      indirectObject: " " + names[a], subject: " " + names[b]))
            }
        }
        self.samples = samples
    }

    public init(samples: [Sample]) { self.samples = samples }
}

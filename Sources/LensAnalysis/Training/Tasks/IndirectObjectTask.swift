// Indirect-object sentences (Wang et al. 2022) as a task: words are tokens, and the last one, the name that was not said
// twice, is asked for.

import LensFiles

/// Sentences from IOIDataset's templates over a vocabulary of words.
public struct IndirectObjectTask: Sendable {
    /// The words, by token: the beginning of a sentence first.
    public let words: [String]
    public let data: GeneratedData

    public static let templates = [
        "Then , [B] and [A] went to the [PLACE] . [B] gave a [OBJECT] to [A]",
        "When [A] and [B] went to the [PLACE] , [B] gave a [OBJECT] to [A]",
        "[A] and [B] went to the [PLACE] to buy a [OBJECT] . [B] handed the [OBJECT] to [A]",
        "After [B] and [A] met at the [PLACE] , [B] showed the [OBJECT] to [A]",
    ]
    public static let names = ["Mary", "John", "Alice", "Tom", "Anna", "James", "Emma", "Peter", "Kate", "David", "Laura", "Mark", "Sara", "Paul", "Lucy", "Simon"]
    public static let places = ["store", "park", "school", "office", "house", "market"]
    public static let objects = ["drink", "book", "ring", "ball", "letter", "computer"]

    /// - Parameters:
    ///   - asksEverything: every next word counts, not the last name alone.
    /// - Throws: `LensError(.usage)` for names that no sentence can be made of.
    public init(names: [String] = Self.names, asksEverything: Bool = false, heldOut: Int = 256, seed: UInt64 = 0) throws {
        guard Set(names).count == names.count, names.count >= 2, names.allSatisfy({ !$0.isEmpty && !$0.contains(" ") }) else {
            throw LensError(.usage, "names no sentence can be made of", expected: "two different words at least", found: names.joined(separator: ", "))
        }
        let fixed = Set(Self.templates.flatMap { $0.split(separator: " ").map(String.init) }.filter { !$0.hasPrefix("[") }).sorted()
        let words = ["<|endoftext|>", "<|unknown|>"] + fixed + Self.places + Self.objects + names.filter { !fixed.contains($0) && !Self.places.contains($0) && !Self.objects.contains($0) }
        let ids = Dictionary(uniqueKeysWithValues: words.enumerated().map { ($1, $0) })
        let templates = Self.templates.map { $0.split(separator: " ").map(String.init) }
        let length = 1 + (templates.map(\.count).max() ?? 0)
        self.words = words
        data = try GeneratedData(vocabularySize: words.count, length: length, seed: seed, heldOut: heldOut,
                                 identity: ["task": "ioi", "names": .array(names.map(JSON.string)), "all": .bool(asksEverything), "seed": .string("\(seed)")]) { random in
            let template = templates[random.int(below: templates.count)]
            let a = random.int(below: names.count), b = (a + 1 + random.int(below: names.count - 1)) % names.count
            let filled = ["[A]": names[a], "[B]": names[b], "[PLACE]": Self.places[random.int(below: Self.places.count)], "[OBJECT]": Self.objects[random.int(below: Self.objects.count)]]
            let sentence = [0] + template.map { ids[filled[$0] ?? $0] ?? 1 }
            // Rows of one length: short ones end early, and nothing is asked of what fills them up.
            let tokens = sentence + Array(repeating: 0, count: length - sentence.count)
            let targets = tokens.indices.map { index in
                index + 1 < sentence.count && (asksEverything || index + 2 == sentence.count) ? tokens[index + 1] : TrainingBatch.ignored
            }
            return (tokens, targets)
        }
    }
}

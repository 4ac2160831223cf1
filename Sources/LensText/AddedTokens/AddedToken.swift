// A token added on top of a model's vocabulary, and how it may be found in text.
import LensFiles

/// A token that is looked for in the text before the model sees it.
public struct AddedToken: Sendable, Hashable {
    /// Its id.
    public var id: Int
    /// Its text, as the user wrote it.
    public var content: String
    /// It is found only where no word character touches it.
    public var singleWord: Bool
    /// It takes the white space on its left with it.
    public var lstrip: Bool
    /// It takes the white space on its right with it.
    public var rstrip: Bool
    /// It is looked for in the normalised text, in its own normalised form.
    public var normalized: Bool
    /// Decoding can skip it.
    public var special: Bool
}

extension AddedToken {
    init(json: JSON, at location: String) throws {
        let fields = try Fields(json, at: location)
        self.init(id: try fields.requiredIndex("id"), content: try fields.requiredString("content"),
                  singleWord: try fields.requiredBool("single_word"), lstrip: try fields.requiredBool("lstrip"),
                  rstrip: try fields.requiredBool("rstrip"), normalized: try fields.requiredBool("normalized"),
                  special: try fields.requiredBool("special"))
    }

    /// Equality byte by byte; a Swift String would hold canonically equivalent contents equal.
    public static func == (a: AddedToken, b: AddedToken) -> Bool {
        a.id == b.id && a.content.utf8.elementsEqual(b.content.utf8) && a.singleWord == b.singleWord
            && a.lstrip == b.lstrip && a.rstrip == b.rstrip && a.normalized == b.normalized && a.special == b.special
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(id) }
}

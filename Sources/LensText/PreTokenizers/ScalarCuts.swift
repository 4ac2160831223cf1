// The pre-tokenizers that cut by what single scalars are, or by how many of them there are.
import LensFiles

/// Each scalar of which `isMatch` holds is a match of its own.
func scalarMatches(_ text: Bytes, _ isMatch: (UInt32) -> Bool) -> [SplitMatch] {
    var matches: [SplitMatch] = []
    var covered = 0, index = 0
    while index < text.count {
        let next = scalar(text, at: index)
        if isMatch(next.value) {
            if covered < index { matches.append(SplitMatch(start: covered, end: index, isMatch: false)) }
            covered = index + next.length
            matches.append(SplitMatch(start: index, end: covered, isMatch: true))
        }
        index += next.length
    }
    if covered < text.count { matches.append(SplitMatch(start: covered, end: text.count, isMatch: false)) }
    return matches
}

/// Each scalar of a class is a match of its own.
func classMatches(_ text: Bytes, _ mask: UInt16) -> [SplitMatch] {
    scalarMatches(text) { ScalarClasses.of($0).has(mask) }
}

/// `\w+|[^\w\s]+`, inverted: the white space between is what matches.
func wordMatches(_ text: Bytes) -> [SplitMatch] {
    func kind(_ value: UInt32) -> Int {
        let found = ScalarClasses.of(value)
        return found.has(ScalarClass.word) ? 1 : found.has(ScalarClass.space) ? 0 : 2
    }
    var matches: [SplitMatch] = []
    var index = 0
    while index < text.count {
        let start = index, run = kind(scalar(text, at: index).value)
        repeat { index += scalar(text, at: index).length } while index < text.count && kind(scalar(text, at: index).value) == run
        matches.append(SplitMatch(start: start, end: index, isMatch: run == 0))
    }
    return matches
}

/// BERT's cut in one pass: white space goes, punctuation stands alone.
func splitAsBert(_ text: inout PieceText) {
    ScalarClasses.table.withUnsafeBufferPointer { classes in
        text.split { bytes, piece, add in
            var start = piece.start, index = piece.start
            while index < piece.end {
                let next = scalar(bytes, at: index)
                let found = ScalarClass(bits: classes[Int(next.value)])
                if found.has(ScalarClass.space | ScalarClass.punctuation) {
                    add(start, index, -1)
                    start = index + next.length
                    if !found.has(ScalarClass.space) { add(index, start, -1) }
                }
                index += next.length
            }
            add(start, piece.end, -1)
        }
    }
}

/// Pieces of `length` scalars.
func splitEvery(_ length: Int, _ text: inout PieceText) {
    text.split { bytes, piece, add in
        var start = piece.start, index = start, count = 0
        while index < piece.end {
            index += scalarLength(bytes[index])
            count += 1
            if count == length {
                add(start, index, -1)
                start = index
                count = 0
            }
        }
        add(start, piece.end, -1)
    }
}

/// Cuts where the script changes. As in the reference, what precedes the first scalar that belongs to a script is lost.
func splitByScript(_ text: inout PieceText) {
    text.split { bytes, piece, add in
        var group: UInt16 = 0, start = -1, index = piece.start
        while index < piece.end {
            let next = scalar(bytes, at: index)
            let found = NormalizationData.scriptGroups[next.value]
            if found != 0 {
                if found != group {
                    if start >= 0 { add(start, index, -1) }
                    start = index
                }
                group = found
            }
            index += next.length
        }
        if start >= 0 { add(start, piece.end, -1) }
    }
}

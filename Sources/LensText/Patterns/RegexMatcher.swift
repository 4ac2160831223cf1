// Running a regular expression over text: backtracking, with a bound on the steps, so that a hostile pattern is an
// error and not a program that hangs.
import LensFiles

/// One search for all matches in one text. Positions are bytes.
struct RegexMatcher {
    private struct Choice {
        /// The instruction to go on at; −1 − slot for a slot to be restored.
        var target: Int32
        var place: Int
        /// For a run that can give back: the least place it may end at; −1 otherwise.
        var floor: Int
    }

    private let code: UnsafeBufferPointer<RegexInstruction>
    private let regex: Regex
    private let text: Bytes
    private var slots: [Int]
    private var choices: [Choice] = []
    private var stepsLeft: Int
    private var searchStart = 0
    private var keptStart = -1
    private var nesting = 0

    private init(_ regex: Regex, _ code: UnsafeBufferPointer<RegexInstruction>, _ text: Bytes) {
        self.regex = regex
        self.code = code
        self.text = text
        slots = Array(repeating: -1, count: regex.slotCount)
        stepsLeft = 5_000_000 + 500 * text.count
    }

    /// All matches from left to right, without overlap, and without empty ones right after another match.
    ///
    /// - Throws: `LensError` if finding them takes too many steps.
    static func matches(of regex: Regex, in text: Bytes) throws -> [Range<Int>] {
        try regex.code.withUnsafeBufferPointer { code in
            var matcher = RegexMatcher(regex, code, text)
            var found: [Range<Int>] = []
            var start = 0, lastEnd = -1
            while start <= text.count, let match = try matcher.search(from: start) {
                if match.isEmpty && match.lowerBound == lastEnd {
                    start += start < text.count ? scalarLength(text[start]) : 1
                    continue
                }
                found.append(match)
                start = match.upperBound
                lastEnd = start
            }
            return found
        }
    }

    private mutating func search(from start: Int) throws -> Range<Int>? {
        searchStart = start
        var place = start
        while place <= text.count {
            if let first = regex.first {
                while place < text.count {
                    let next = scalar(text, at: place)
                    if first.contains(next.value) { break }
                    place += next.length
                }
                if place >= text.count { return nil }
            }
            for index in slots.indices { slots[index] = -1 }
            choices.removeAll(keepingCapacity: true)
            keptStart = -1
            let end = try run(at: 0, from: place, mustEndAt: -1)
            if end >= 0 {
                let first = keptStart >= 0 ? keptStart : place
                return min(first, end)..<end
            }
            place += place < text.count ? scalarLength(text[place]) : 1
        }
        return nil
    }

    /// Runs from an instruction to `accept`; the end of the match, or −1. The choices it leaves are those that were
    /// there, and what restores the slots it changed.
    private mutating func run(at start: Int, from origin: Int, mustEndAt limit: Int) throws -> Int {
        let base = choices.count
        var pc = start, place = origin
        while true {
            stepsLeft -= 1
            if stepsLeft < 0 {
                throw LensError(.text, "a regular expression takes too many steps", found: "a text of \(text.count) bytes")
            }
            var isMatch = true
            switch code[pc] {
            case .set(let set):
                if place < text.count {
                    let next = scalar(text, at: place)
                    isMatch = regex.sets[set].contains(next.value)
                    place += next.length
                } else {
                    isMatch = false
                }
                pc += 1
            case .run(let set, let least, let most, let canGiveBack):
                isMatch = takeRun(regex.sets[set], least, most, canGiveBack, pc + 1, &place)
                pc += 1
            case .split(let first, let second):
                choices.append(Choice(target: Int32(truncatingIfNeeded: second), place: place, floor: -1))
                pc = first
            case .jump(let target): pc = target
            case .save(let slot), .loopStart(let slot):
                setSlot(slot, place)
                pc += 1
            case .loopEnd(let slot, let exit): pc = slots[slot] == place ? exit : pc + 1
            case .assertion(let assertion):
                isMatch = holds(assertion, place)
                pc += 1
            case .atomic(let end):
                let reached = try runNested(at: pc + 1, from: place, mustEndAt: -1)
                isMatch = reached >= 0
                place = reached
                pc = end
            case .look(let end, let isAhead, let isNegated, let least, let most):
                isMatch = try looks(pc + 1, place, isAhead, least, most) != isNegated
                pc = end
            case .backreference(let number):
                isMatch = takeReference(number, &place)
                pc += 1
            case .keep:
                keptStart = place
                pc += 1
            case .accept:
                if limit < 0 || place == limit {
                    dropChoices(downTo: base)
                    return place
                }
                isMatch = false
            }
            if !isMatch, !backtrack(to: base, &pc, &place) { return -1 }
        }
    }

    /// Calls itself as deep as groups are nested in the pattern.
    private mutating func runNested(at start: Int, from place: Int, mustEndAt limit: Int) throws -> Int {
        try run(at: start, from: place, mustEndAt: limit)
    }

    private mutating func backtrack(to base: Int, _ pc: inout Int, _ place: inout Int) -> Bool {
        while choices.count > base {
            var choice = choices.removeLast()
            if choice.target < 0 {
                slots[Int(-1 - choice.target)] = choice.place
                continue
            }
            if choice.floor >= 0 {
                choice.place -= 1
                while choice.place > choice.floor, text[choice.place] & 0xC0 == 0x80 { choice.place -= 1 }
                if choice.place > choice.floor { choices.append(choice) }
            }
            pc = Int(choice.target)
            place = choice.place
            return true
        }
        return false
    }

    /// Forgets the choices of a match that is settled, but not how to restore slots.
    private mutating func dropChoices(downTo base: Int) {
        guard choices.count > base else { return }
        var kept = base
        for index in base..<choices.count where choices[index].target < 0 {
            choices[kept] = choices[index]
            kept += 1
        }
        choices.removeLast(choices.count - kept)
    }

    private mutating func setSlot(_ slot: Int, _ place: Int) {
        choices.append(Choice(target: Int32(truncatingIfNeeded: -1 - slot), place: slots[slot], floor: -1))
        slots[slot] = place
    }

    private mutating func takeRun(_ set: ScalarSet, _ least: Int, _ most: Int, _ canGiveBack: Bool, _ next: Int,
                                  _ place: inout Int) -> Bool {
        var count = 0, floor = place
        while count < most, place < text.count {
            let found = scalar(text, at: place)
            guard set.contains(found.value) else { break }
            place += found.length
            count += 1
            if count == least { floor = place }
        }
        stepsLeft -= count
        guard count >= least else { return false }
        if canGiveBack, count > least {
            choices.append(Choice(target: Int32(truncatingIfNeeded: next), place: place, floor: floor))
        }
        return true
    }

    private mutating func looks(_ start: Int, _ place: Int, _ isAhead: Bool, _ least: Int, _ most: Int) throws -> Bool {
        if isAhead { return try runNested(at: start, from: place, mustEndAt: -1) >= 0 }
        var origin = place, count = 0
        while true {
            if count >= least, try runNested(at: start, from: origin, mustEndAt: place) >= 0 { return true }
            guard count < most, origin > 0 else { return false }
            origin -= scalar(text, before: origin).length
            count += 1
        }
    }

    private func takeReference(_ number: Int, _ place: inout Int) -> Bool {
        let (groups, ignoresCase) = regex.references[number]
        for group in groups.reversed() {
            let start = slots[2 * group], end = slots[2 * group + 1]
            guard start >= 0, end >= start else { continue }
            var index = start, other = place
            while index < end {
                guard other < text.count else { return false }
                let a = scalar(text, at: index), b = scalar(text, at: other)
                guard a.value == b.value || ignoresCase && CaseFolding.variants[a.value]?.contains(b.value) == true else {
                    return false
                }
                index += a.length
                other += b.length
            }
            place = other
            return true
        }
        return false
    }

    private func holds(_ assertion: RegexAssertion, _ place: Int) -> Bool {
        switch assertion {
        case .lineStart: return place == 0 || text[place - 1] == 0x0A && place < text.count
        case .lineEnd: return place == text.count || text[place] == 0x0A
        case .textStart: return place == 0
        case .textEnd: return place == text.count
        case .textEndOrNewline: return place == text.count || place == text.count - 1 && text[place] == 0x0A
        case .searchStart: return place == searchStart
        case .wordBoundary: return isWord(before: place) != isWord(at: place)
        case .noWordBoundary: return isWord(before: place) == isWord(at: place)
        }
    }

    private func isWord(before place: Int) -> Bool { place > 0 && RegexClasses.word.contains(scalar(text, before: place).value) }
    private func isWord(at place: Int) -> Bool { place < text.count && RegexClasses.word.contains(scalar(text, at: place).value) }
}

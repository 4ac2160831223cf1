// The machine that reads a pickle (Python's pickletools lists its opcodes): the opcodes that protocols 2 to 5 write for
// plain values, containers and calls of the functions of PickleGlobals.swift. It refuses every other opcode and name, more
// than four million steps, and stops at the end of its bytes: what it holds stays within a multiple of what it has read.

/// Reads one pickle.
struct PickleMachine {
    private static let mostSteps = 1 << 22

    var heap = PickleHeap()
    private(set) var reader: PickleReader
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]
    private var steps = 0

    init(_ reader: PickleReader) { self.reader = reader }

    /// The next pickle's value. The heap is all pickles' of the reader; stack and memo are each its own.
    mutating func next() throws -> PickleValue {
        (stack, marks, memo) = ([], [], [:])
        while true {
            try charge(1)
            let opcode = try reader.byte()
            if opcode == UInt8(ascii: ".") { return try pop() }
            guard try plain(opcode) || containers(opcode) || memory(opcode) || calls(opcode) else { throw unknown(opcode) }
        }
    }

    /// Counts steps: an opcode is one, and what copies is as many as it copies, so that no short pickle makes much of little.
    mutating func charge(_ count: Int) throws {
        steps += min(count, Self.mostSteps)
        guard steps <= Self.mostSteps else { throw bad("more than a checkpoint's pickle does", found: "over \(Self.mostSteps) steps") }
    }

    func bad(_ what: String, found: String? = nil) -> LensError {
        LensError(.format, "damaged or unsupported pickle: \(what)", at: reader.location, found: found)
    }

    private func unknown(_ opcode: UInt8) -> LensError {
        let names: [Unicode.Scalar: String] = [
            "i": "INST", "o": "OBJ", "\u{92}": "NEWOBJ_EX", "\u{82}": "EXT1", "\u{83}": "EXT2", "\u{84}": "EXT4", "P": "PERSID",
            "I": "INT", "L": "LONG", "F": "FLOAT", "S": "STRING", "V": "UNICODE", "d": "DICT", "l": "LIST", "g": "GET", "p": "PUT",
            "2": "DUP", "\u{97}": "NEXT_BUFFER", "\u{98}": "READONLY_BUFFER",
        ]
        let name = names[Unicode.Scalar(opcode)] ?? "byte \(opcode)"
        return bad("an opcode this reader does not run", found: name)
    }

    private mutating func pop() throws -> PickleValue {
        guard stack.count > (marks.last ?? 0) else { throw bad("a value is missing") }
        return stack.removeLast()
    }

    /// What was pushed since the last mark.
    private mutating func popToMark() throws -> [PickleValue] {
        guard let mark = marks.popLast() else { throw bad("a mark is missing") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    // MARK: Opcodes. Each group says whether the opcode is one of its own.

    private mutating func plain(_ opcode: UInt8) throws -> Bool {
        switch Unicode.Scalar(opcode) {
        case "\u{80}":  // PROTO
            let version = try reader.byte()
            guard (2...5).contains(version) else { throw bad("protocol", found: "\(version)") }
        case "\u{95}": _ = try reader.integer(UInt64.self)  // FRAME
        case "N": stack.append(.none)
        case "\u{88}": stack.append(.bool(true))
        case "\u{89}": stack.append(.bool(false))
        case "J": stack.append(.int(Int(try reader.integer(Int32.self))))
        case "K": stack.append(.int(Int(try reader.byte())))
        case "M": stack.append(.int(Int(try reader.integer(UInt16.self))))
        case "\u{8A}": stack.append(Self.long(try reader.counted(UInt8.self)))
        case "\u{8B}": stack.append(Self.long(try reader.counted(Int32.self)))
        case "G": stack.append(.double(Double(bitPattern: try reader.integer(UInt64.self).byteSwapped)))
        case "X": stack.append(.string(try text(reader.counted(UInt32.self))))
        case "\u{8C}": stack.append(.string(try text(reader.counted(UInt8.self))))
        case "\u{8D}": stack.append(.string(try text(reader.counted(UInt64.self))))
        // Python 2's strings, which are bytes.
        case "U": stack.append(Self.oldString(try reader.counted(UInt8.self)))
        case "T": stack.append(Self.oldString(try reader.counted(Int32.self)))
        case "B": stack.append(.bytes(Array(try reader.counted(UInt32.self))))
        case "C": stack.append(.bytes(Array(try reader.counted(UInt8.self))))
        case "\u{8E}", "\u{96}": stack.append(.bytes(Array(try reader.counted(UInt64.self))))
        default: return false
        }
        return true
    }

    private mutating func containers(_ opcode: UInt8) throws -> Bool {
        switch Unicode.Scalar(opcode) {
        case "(": marks.append(stack.count)
        case "0":  // POP: a mark, too, can be on top
            if marks.last == stack.count { marks.removeLast() } else { _ = try pop() }
        case "1": _ = try popToMark()
        case ")": stack.append(heap.tuple([]))
        case "\u{85}", "\u{86}", "\u{87}":  // TUPLE1, 2, 3
            let items = try (0x85...opcode).map { _ in try pop() }
            stack.append(heap.tuple(items.reversed()))
        case "t": stack.append(heap.tuple(try popToMark()))
        case "]": stack.append(heap.list())
        case "}": stack.append(heap.dict())
        case "\u{8F}": stack.append(heap.list())  // EMPTY_SET
        case "\u{91}": stack.append(heap.list(try popToMark()))  // FROZENSET
        case "a":
            let item = try pop()
            try append([item])
        case "e", "\u{90}": try append(try popToMark())  // APPENDS, ADDITEMS
        case "s":
            let value = try pop(), key = try pop()
            try setItems([key, value])
        case "u": try setItems(try popToMark())
        default: return false
        }
        return true
    }

    private mutating func memory(_ opcode: UInt8) throws -> Bool {
        switch Unicode.Scalar(opcode) {
        case "q": try remember(Int(reader.byte()))
        case "r": try remember(Int(reader.integer(UInt32.self)))
        case "\u{94}": try remember(memo.count)  // MEMOIZE
        case "h": try recall(Int(reader.byte()))
        case "j": try recall(Int(reader.integer(UInt32.self)))
        default: return false
        }
        return true
    }

    private mutating func calls(_ opcode: UInt8) throws -> Bool {
        switch Unicode.Scalar(opcode) {
        case "c":
            let module = try reader.line(), name = try reader.line()
            stack.append(.global(try PickleGlobal(module: module, name: name, at: reader.location)))
        case "\u{93}":  // STACK_GLOBAL
            guard let name = try pop().string, let module = try pop().string else { throw bad("a name that is no string") }
            stack.append(.global(try PickleGlobal(module: module, name: name, at: reader.location)))
        case "R", "\u{81}":  // REDUCE, NEWOBJ
            let arguments = try pop(), callee = try pop()
            guard case .global(let global) = callee, case .tuple(let index) = arguments else { throw bad("a call of what is no function", found: callee.kind) }
            stack.append(try call(global, heap.tuples[index]))
        case "b":  // BUILD: attributes of a dictionary or of what is not looked at
            _ = try pop()
            guard let target = stack.last, stack.count > (marks.last ?? 0) else { throw bad("a value is missing") }
            switch target {
            case .dict, .inert: break
            default: throw bad("attributes for what has none", found: target.kind)
            }
        case "Q":
            let identity = try pop()
            stack.append(try storage(identity))
        default: return false
        }
        return true
    }

    // MARK: What they do

    private mutating func append(_ items: [PickleValue]) throws {
        guard case .list(let index)? = stack.last, stack.count > (marks.last ?? 0) else { throw bad("items for what is no list") }
        heap.lists[index].append(contentsOf: items)
    }

    private mutating func setItems(_ items: [PickleValue]) throws {
        guard case .dict(let index)? = stack.last, stack.count > (marks.last ?? 0), items.count % 2 == 0 else { throw bad("items for what is no dictionary") }
        for place in stride(from: 0, to: items.count, by: 2) { heap.dicts[index].append((items[place], items[place + 1])) }
    }

    private mutating func remember(_ place: Int) throws {
        guard let value = stack.last, stack.count > (marks.last ?? 0) else { throw bad("a value is missing") }
        memo[place] = value
    }

    private mutating func recall(_ place: Int) throws {
        guard let value = memo[place] else { throw bad("a value that was not remembered", found: "\(place)") }
        stack.append(value)
    }

    /// `('storage', type, key, location, count[, view])`; a view is `(key, offset, count)`.
    private mutating func storage(_ identity: PickleValue) throws -> PickleValue {
        guard let parts = heap.items(identity), parts.count >= 5, parts[0].string == "storage", case .global(let global) = parts[1],
              case .storage(let type) = global.role, let key = parts[2].string ?? parts[2].int.map(String.init),
              let count = parts[4].int, count >= 0 else { throw bad("an unknown kind of storage") }
        var storage = PickleStorage(key: key, type: type, count: count)
        if parts.count > 5, let view = heap.items(parts[5]) {
            guard view.count == 3, let offset = view[1].int, let length = view[2].int, offset >= 0, length >= 0,
                  length <= count, offset <= count - length else { throw bad("an impossible view of a storage", found: key) }
            storage.view = (offset, length)
        }
        heap.storages.append(storage)
        return .storage(heap.storages.count - 1)
    }

    private func text(_ bytes: ArraySlice<UInt8>) throws -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw bad("a string that is no UTF-8") }
        return text
    }

    private static func oldString(_ bytes: ArraySlice<UInt8>) -> PickleValue {
        String(validating: bytes, as: UTF8.self).map(PickleValue.string) ?? .bytes(Array(bytes))
    }

    private static func long(_ bytes: ArraySlice<UInt8>) -> PickleValue {
        guard bytes.count <= 8 else { return .long(Array(bytes)) }
        var value = bytes.last.map { $0 >= 0x80 } == true ? -1 : 0
        for byte in bytes.reversed() { value = value << 8 | Int(byte) }
        return .int(value)
    }
}

// What a pickle can hold here: plain values, containers, and tensors as views of storages. Containers live in one flat heap
// and refer to one another by number, so neither cycles nor nesting of any depth can leak or overflow a stack.

/// A value on the machine's stack or in a container.
enum PickleValue {
    case none
    case bool(Bool)
    case int(Int)
    /// An integer past Int: its bytes, little-endian two's complement.
    case long([UInt8])
    case double(Double)
    case string(String)
    case bytes([UInt8])
    case list(Int)
    case tuple(Int)
    case dict(Int)
    case set(Int)
    case global(PickleGlobal)
    case storage(Int)
    case tensor(Int)
    /// Something harmless that holds no weights: a device, a NumPy scalar.
    case inert(String)

    var string: String? { if case .string(let text) = self { return text } else { return nil } }
    var int: Int? { if case .int(let value) = self { return value } else { return nil } }

    /// What sort of value this is, for errors.
    var kind: String {
        switch self {
        case .none: "None"
        case .bool: "a boolean"
        case .int, .long: "an integer"
        case .double: "a number"
        case .string: "a string"
        case .bytes: "bytes"
        case .list: "a list"
        case .tuple: "a tuple"
        case .dict: "a dictionary"
        case .set: "a set"
        case .global(let global): global.name
        case .storage: "a storage"
        case .tensor: "a tensor"
        case .inert(let name): name
        }
    }
}

/// A storage as a pickle names it: where its bytes are is the file's business.
struct PickleStorage {
    let key: String
    /// nil: bytes without a type, which a tensor brings.
    let type: ElementType?
    /// Elements; bytes without a type.
    let count: Int
    /// The part of the storage `key` that this is, in elements; nil: all.
    var view: (offset: Int, count: Int)?
}

/// A tensor: a view of a storage.
struct PickleTensor {
    let storage: Int
    let type: ElementType
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

/// Everything values refer to.
struct PickleHeap {
    var lists: [[PickleValue]] = []
    var tuples: [[PickleValue]] = []
    var dicts: [[(key: PickleValue, value: PickleValue)]] = []
    var storages: [PickleStorage] = []
    var tensors: [PickleTensor] = []

    mutating func tuple(_ items: [PickleValue]) -> PickleValue {
        tuples.append(items)
        return .tuple(tuples.count - 1)
    }

    mutating func list(_ items: [PickleValue] = []) -> PickleValue {
        lists.append(items)
        return .list(lists.count - 1)
    }

    mutating func dict(_ items: [(key: PickleValue, value: PickleValue)] = []) -> PickleValue {
        dicts.append(items)
        return .dict(dicts.count - 1)
    }

    /// The items of a tuple or list.
    func items(_ value: PickleValue) -> [PickleValue]? {
        switch value {
        case .tuple(let index): tuples[index]
        case .list(let index): lists[index]
        default: nil
        }
    }
}

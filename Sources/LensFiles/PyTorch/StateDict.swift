// Which tensors a pickle's value holds, and under which names: a dictionary of tensors is what it is; a training checkpoint
// has one inside, beside its optimizer's; nested dictionaries join their keys with dots.

/// Finds a value's tensors.
struct StateDict {
    /// Keys under which training programs keep the model's own tensors.
    private static let containers = ["state_dict", "model_state_dict", "model_state", "model", "module", "net", "params"]
    /// What wrappers put before every name: DistributedDataParallel and torch.compile.
    private static let wrappers = ["module.", "_orig_mod."]
    private static let deepest = 16
    private static let mostVisits = 1 << 20

    private let heap: PickleHeap
    private let location: String
    private(set) var tensors: [(name: String, tensor: PickleTensor)] = []
    private var visits = 0

    /// - Throws: `LensError(.format)` if there are no tensors, or one name for two.
    init(of value: PickleValue, in heap: PickleHeap, at location: String) throws {
        self.heap = heap
        self.location = location
        var root = value
        for _ in 0..<4 {
            guard let inner = container(in: root) else { break }
            root = inner
        }
        try collect(root, "", depth: 0)
        if tensors.isEmpty, case .tensor(let index) = root { tensors = [("tensor", heap.tensors[index])] }
        guard !tensors.isEmpty else { throw LensError(.format, "no tensors in this PyTorch file", at: location, found: value.kind) }
        for wrapper in Self.wrappers where tensors.allSatisfy({ $0.name.hasPrefix(wrapper) }) {
            tensors = tensors.map { (String($0.name.dropFirst(wrapper.count)), $0.tensor) }
        }
    }

    /// The dictionary of tensors inside a training checkpoint.
    private func container(in value: PickleValue) -> PickleValue? {
        guard case .dict(let index) = value else { return nil }
        for key in Self.containers {
            guard let inner = heap.dicts[index].last(where: { $0.key.string == key })?.value, case .dict(let inside) = inner else { continue }
            let holdsTensors = heap.dicts[inside].contains { entry in
                switch entry.value {
                case .tensor, .dict: true
                default: false
                }
            }
            if holdsTensors { return inner }
        }
        return nil
    }

    private mutating func collect(_ value: PickleValue, _ name: String, depth: Int) throws {
        visits += 1
        guard visits <= Self.mostVisits, depth <= Self.deepest else {
            throw LensError(.format, "containers nested too deeply or too often", at: location, expected: "a dictionary of tensors")
        }
        switch value {
        case .tensor(let index):
            if depth > 0 { tensors.append((name, heap.tensors[index])) }
        case .dict(let index):
            // Of a key given twice the last counts, in the first's place.
            var order: [String] = [], values: [ExactString: PickleValue] = [:]
            for (key, value) in heap.dicts[index] {
                guard let key = key.string ?? key.int.map(String.init) else { continue }
                if values.updateValue(value, forKey: ExactString(key)) == nil { order.append(key) }
            }
            for key in order { try collect(values[ExactString(key)] ?? .none, join(name, key), depth: depth + 1) }
        case .list(let index):
            for (place, item) in heap.lists[index].enumerated() { try collect(item, join(name, "\(place)"), depth: depth + 1) }
        case .tuple(let index):
            for (place, item) in heap.tuples[index].enumerated() { try collect(item, join(name, "\(place)"), depth: depth + 1) }
        default: break
        }
    }

    private func join(_ name: String, _ key: String) -> String { name.isEmpty ? key : "\(name).\(key)" }
}

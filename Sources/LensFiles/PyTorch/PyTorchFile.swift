// Reads what torch.save wrote: `.pt`, `.pth` and `.bin`, a zip file of a pickle and one entry for each storage, or (before
// PyTorch 1.6) a stream of pickles with the storages after them. Nothing in the pickle is run: PickleMachine.swift says what
// is read, everything else is refused by name. It also refuses big-endian files, TorchScript archives, compressed entries
// and tensors that leave their storage.

/// The tensors of a PyTorch file: a state dict, or the one inside a training checkpoint. Keys of nested dictionaries are
/// joined by dots.
public struct PyTorchFile: TensorSource {
    public let location: String
    private let file: DataFile
    private let table: TensorTable<TensorView>

    /// Opens the file at `path` and reads its pickle.
    /// - Throws: `LensError`: `.file` if it cannot be read, `.format` if it is damaged or holds what is refused.
    public init(path: String) throws {
        let contents = try Self.isZip(path) ? PyTorchContents(zip: path) : PyTorchContents(stream: path)
        var table = TensorTable<TensorView>()
        for (name, tensor) in try StateDict(of: contents.value, in: contents.heap, at: path).tensors {
            let entry = try TensorEntry(name: name, dtype: tensor.type, shape: tensor.shape, at: path)
            let storage = contents.heap.storages[tensor.storage]
            let bytes = try contents.bytes(of: storage, tensor.type, at: "\(path): \(name)")
            let view = try TensorView(tensor, storage: bytes, entry: entry, at: path)
            guard table.insert(entry, view) else { throw LensError(.format, "tensor named twice", at: "\(path): \(name)") }
        }
        location = path
        file = contents.file
        self.table = table
    }

    private static func isZip(_ path: String) throws -> Bool {
        let file = try DataFile(path: path)
        guard file.size >= 4 else { throw LensError(.format, "not a PyTorch file", at: path, expected: "a zip file or a pickle", found: "\(file.size) bytes") }
        return try file.read(0..<4) == [0x50, 0x4B, 3, 4]
    }

    public var names: [String] { table.names }

    public func entry(_ name: String) -> TensorEntry? { table.find(name)?.entry }

    public func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let (entry, view) = table.find(name) else {
            _ = try requireEntry(name)
            return
        }
        _ = try entry.byteRange(elementOffset: elementOffset, elementCount: elementCount, bufferCount: buffer.count, at: location)
        try view.gather(elementOffset..<(elementOffset + elementCount), into: buffer) { try file.read(at: $0, into: $1) }
    }
}

/// What is in a file before anyone asks which tensors are meant: the pickle's value, and where storages' bytes are.
private struct PyTorchContents {
    let file: DataFile
    let heap: PickleHeap
    let value: PickleValue
    private var places: [ExactString: Range<Int>] = [:]

    /// Of a storage's bytes, in the file; of elements of `type` where the storage has no type of its own.
    func bytes(of storage: PickleStorage, _ type: ElementType, at location: String) throws -> Range<Int> {
        guard let place = places[ExactString(storage.key)] else {
            throw LensError(.format, "storage missing from a PyTorch file", at: location, expected: "storage \(storage.key)", advice: "the file may be cut short")
        }
        let size = storage.type?.bytesPerBlock ?? 1
        guard let bytes = storage.type?.byteCount(storage.count) ?? Optional(storage.count), bytes <= place.count else {
            throw LensError(.format, "storage shorter than its tensors need", at: location, expected: "\(storage.count) elements", found: "\(place.count) bytes")
        }
        guard let view = storage.view else { return place.lowerBound..<(place.lowerBound + bytes) }
        // Inside, because the machine has checked the view against the count, and the count fits.
        return (place.lowerBound + view.offset * size)..<(place.lowerBound + (view.offset + view.count) * size)
    }

    // MARK: Zip

    init(zip path: String) throws {
        let archive = try ZipArchive(path: path)
        let pickles = archive.entries.filter { $0.name.hasSuffix("/data.pkl") && $0.name.utf8.count(where: { $0 == UInt8(ascii: "/") }) == 1 }
        guard pickles.count == 1, let pickle = pickles.first else {
            throw LensError(.format, "zip file that torch.save did not write", at: path, expected: "one data.pkl in a folder", found: "\(pickles.count)")
        }
        let root = pickle.name.dropLast("data.pkl".count)
        let entries = Dictionary(uniqueKeysWithValues: archive.entries.map { (ExactString($0.name), $0) })
        if entries[ExactString(root + "constants.pkl")] != nil {
            throw LensError(.format, "TorchScript archive", at: path, expected: "a file of torch.save", advice: "save the state dict of the model it came from")
        }
        if let order = entries[ExactString(root + "byteorder")], order.range.count <= 16,
           try archive.file.read(order.range) != Array("little".utf8) {
            throw LensError(.format, "big-endian PyTorch file", at: path, expected: "little-endian numbers")
        }
        let prefix = root + "data/"
        for entry in archive.entries where entry.name == pickle.name || entry.name.hasPrefix(prefix) {
            guard entry.isStored else { throw LensError(.format, "compressed entry of a PyTorch file", at: "\(path): \(entry.name)", expected: "bytes stored as they are") }
            if entry.name != pickle.name { places[ExactString(String(entry.name.dropFirst(prefix.count)))] = entry.range }
        }
        var machine = PickleMachine(PickleReader(archive.file, pickle.range, at: "\(path): data.pkl"))
        value = try machine.next()
        heap = machine.heap
        file = archive.file
    }

    // MARK: Stream

    /// The number every stream begins with, little-endian.
    private static let magic: [UInt8] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]

    /// Five pickles (magic number, version, system, value, keys of storages), then each storage: its length, its bytes.
    init(stream path: String) throws {
        let file = try DataFile(path: path)
        var machine = PickleMachine(PickleReader(file, 0..<file.size, at: path))
        guard try file.read(0..<1) == [0x80], case .long(Self.magic) = try machine.next() else {
            throw LensError(.format, "not a PyTorch file", at: path, expected: "what torch.save writes")
        }
        guard case .int(1001) = try machine.next() else { throw LensError(.format, "PyTorch file of an unknown version", at: path, expected: "1001") }
        guard case .dict(let system) = try machine.next() else { throw machine.bad("no description of the system") }
        for (key, value) in machine.heap.dicts[system] where key.string == "little_endian" {
            guard case .bool(true) = value else { throw LensError(.format, "big-endian PyTorch file", at: path, expected: "little-endian numbers") }
        }
        value = try machine.next()
        let listed = try machine.next()
        guard let keys = machine.heap.items(listed) else { throw machine.bad("no list of storages") }
        var sizes: [ExactString: Int] = [:]
        for storage in machine.heap.storages { sizes[ExactString(storage.key)] = storage.type?.bytesPerBlock ?? 1 }
        var at = machine.reader.at
        for key in keys {
            guard let key = key.string ?? key.int.map(String.init), let size = sizes[ExactString(key)] else { throw machine.bad("a storage nobody names") }
            guard at <= file.size - 8 else { throw LensError(.format, "PyTorch file ends too early", at: "\(path): storage \(key)", advice: "the file may be cut short") }
            let count = try file.read(at..<(at + 8)).withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
            at += 8
            guard let elements = Int(exactly: count), elements <= (file.size - at) / size else {
                throw LensError(.format, "PyTorch file ends too early", at: "\(path): storage \(key)", expected: "\(count) elements",
                                found: "\(file.size - at) bytes", advice: "the file may be cut short")
            }
            places[ExactString(key)] = at..<(at + elements * size)
            at += elements * size
        }
        heap = machine.heap
        self.file = file
    }
}

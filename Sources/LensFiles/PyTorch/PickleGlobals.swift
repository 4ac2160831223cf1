// What a pickle may name: functions that rebuild tensors and plain containers, types of storages and elements, and a few
// classes that only stand beside them. Nothing is run: each function is its own case here. Every other name is refused,
// with that name in the error.

/// A name on the list. A class, so that a value that is one takes no more room than others.
final class PickleGlobal {
    let name: String
    let role: Role

    enum Role {
        case call(Function)
        /// nil: bytes without a type.
        case storage(ElementType?)
        case element(ElementType)
        /// A class that is passed on and never called.
        case type
    }

    enum Function {
        case dictionary, defaultDictionary, set, encodeText
        case rebuildTensor, rebuildTypedTensor, rebuildParameter, rebuildFromType
        case size
        /// Its result is no weight and is never looked at.
        case inert
    }

    /// - Throws: `LensError(.format)` naming what is not on the list.
    init(module: String, name: String, at location: String) throws {
        let full = "\(module).\(name)"
        guard let role = Self.known[full] else {
            let alias = ["posix.", "nt."].first(where: full.hasPrefix).map { " (os.\(full.dropFirst($0.count)))" } ?? ""
            throw LensError(.format, "pickle that asks for something this reader does not run", at: location,
                            expected: "tensors and plain values only", found: full + alias,
                            advice: "save tensors alone, with torch.save(model.state_dict(), …) or as safetensors")
        }
        self.name = full
        self.role = role
    }

    private static let known: [String: Role] = {
        var known: [String: Role] = [
            "collections.OrderedDict": .call(.dictionary), "collections.Counter": .call(.dictionary),
            "collections.defaultdict": .call(.defaultDictionary), "_codecs.encode": .call(.encodeText),
            "torch._utils._rebuild_tensor": .call(.rebuildTensor), "torch._utils._rebuild_tensor_v2": .call(.rebuildTensor),
            "torch._utils._rebuild_tensor_v3": .call(.rebuildTypedTensor), "torch._utils._rebuild_parameter": .call(.rebuildParameter),
            "torch._utils._rebuild_parameter_with_state": .call(.rebuildParameter),
            "torch._tensor._rebuild_from_type_v2": .call(.rebuildFromType),
            "torch.Size": .call(.size), "torch.device": .call(.inert), "torch.serialization._get_layout": .call(.inert),
            "torch.Tensor": .type, "torch.nn.parameter.Parameter": .type, "torch.nn.parameter.Buffer": .type, "torch.nn.Parameter": .type,
            "numpy.ndarray": .type, "numpy.dtype": .call(.inert),
        ]
        for module in ["builtins", "__builtin__"] {
            known["\(module).set"] = .call(.set)
            known["\(module).frozenset"] = .call(.set)
            for name in ["dict", "list", "tuple", "int", "float", "bool", "str", "bytes", "long", "complex"] { known["\(module).\(name)"] = .type }
        }
        for module in ["numpy.core.multiarray", "numpy._core.multiarray"] {
            known["\(module).scalar"] = .call(.inert)
            known["\(module)._reconstruct"] = .call(.inert)
        }
        for module in ["numpy.core.numeric", "numpy._core.numeric"] { known["\(module)._frombuffer"] = .call(.inert) }
        let storages: [(String, ElementType?)] = [
            ("Float", .f32), ("Double", .f64), ("Half", .f16), ("BFloat16", .bf16), ("Long", .i64), ("Int", .i32), ("Short", .i16),
            ("Char", .i8), ("Byte", .u8), ("Bool", .bool), ("ComplexFloat", .c64), ("Untyped", nil),
        ]
        for (name, type) in storages {
            for module in ["torch", "torch.cuda", "torch.storage"] { known["\(module).\(name)Storage"] = .storage(type) }
        }
        let elements: [(String, ElementType)] = [
            ("float32", .f32), ("float", .f32), ("float64", .f64), ("double", .f64), ("float16", .f16), ("half", .f16), ("bfloat16", .bf16),
            ("int64", .i64), ("long", .i64), ("int32", .i32), ("int", .i32), ("int16", .i16), ("short", .i16), ("int8", .i8), ("uint8", .u8),
            ("uint16", .u16), ("uint32", .u32), ("uint64", .u64), ("bool", .bool), ("complex64", .c64),
            ("float8_e5m2", .f8E5M2), ("float8_e4m3fn", .f8E4M3), ("float8_e5m2fnuz", .f8E5M2FNUZ), ("float8_e4m3fnuz", .f8E4M3FNUZ),
        ]
        for (name, type) in elements { known["torch.\(name)"] = .element(type) }
        return known
    }()
}

extension PickleMachine {
    /// What calling `global` with `arguments` gives.
    mutating func call(_ global: PickleGlobal, _ arguments: [PickleValue]) throws -> PickleValue {
        guard case .call(let function) = global.role else { throw bad("a call of what is no function", found: global.name) }
        if let first = arguments.first, let items = heap.items(first) { try charge(items.count) }
        switch function {
        case .inert: return .inert(global.name)
        case .dictionary, .defaultDictionary:
            // A default dictionary's first argument makes its defaults; there are none in a file.
            let given = function == .defaultDictionary ? Array(arguments.dropFirst()) : arguments
            return try dictionary(given, global.name)
        case .set: return arguments.isEmpty ? heap.list() : heap.list(heap.items(arguments[0]) ?? [])
        case .encodeText:
            guard let text = arguments.first?.string else { throw bad("arguments of \(global.name)") }
            try charge(text.utf8.count / 16)
            return .bytes(text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) })
        case .size:
            guard arguments.count == 1, let axes = heap.items(arguments[0]) else { throw bad("arguments of \(global.name)") }
            return heap.tuple(axes)
        case .rebuildTensor, .rebuildTypedTensor: return try tensor(arguments, isTyped: function == .rebuildTypedTensor, global.name)
        case .rebuildParameter:
            guard case .tensor? = arguments.first else { throw bad("arguments of \(global.name)") }
            return arguments[0]
        case .rebuildFromType:
            // (function, type, its arguments, state)
            guard arguments.count == 4, case .global(let inner) = arguments[0], let rest = heap.items(arguments[2]),
                  case .call(let kind) = inner.role, [.rebuildTensor, .rebuildTypedTensor, .rebuildParameter].contains(kind) else {
                throw bad("arguments of \(global.name)")
            }
            return try call(inner, rest)
        }
    }

    /// A dictionary from pairs.
    private mutating func dictionary(_ arguments: [PickleValue], _ name: String) throws -> PickleValue {
        guard let first = arguments.first else { return heap.dict() }
        if case .dict(let index) = first {
            try charge(heap.dicts[index].count)
            return heap.dict(heap.dicts[index])
        }
        guard let pairs = heap.items(first) else { throw bad("arguments of \(name)") }
        return heap.dict(try pairs.map { pair in
            guard let items = heap.items(pair), items.count == 2 else { throw bad("arguments of \(name)") }
            return (items[0], items[1])
        })
    }

    /// `(storage, offset, size, stride, …)`; the typed form's seventh argument is the elements' type.
    private mutating func tensor(_ arguments: [PickleValue], isTyped: Bool, _ name: String) throws -> PickleValue {
        guard arguments.count >= (isTyped ? 7 : 4), case .storage(let storage) = arguments[0], let offset = arguments[1].int,
              let size = heap.items(arguments[2]), let strides = heap.items(arguments[3]), size.count == strides.count, size.count <= 64 else {
            throw bad("arguments of \(name)")
        }
        try charge(16 + 2 * size.count)
        var type = heap.storages[storage].type
        if isTyped {
            guard case .global(let given) = arguments[6], case .element(let element) = given.role else { throw bad("arguments of \(name)") }
            type = element
        }
        let (axes, steps) = (size.compactMap(\.int), strides.compactMap(\.int))
        guard let type, axes.count == size.count, steps.count == size.count, offset >= 0, !axes.contains(where: { $0 < 0 }),
              !steps.contains(where: { $0 < 0 }) else { throw bad("arguments of \(name)") }
        heap.tensors.append(PickleTensor(storage: storage, type: type, offset: offset, shape: axes, strides: steps))
        return .tensor(heap.tensors.count - 1)
    }
}

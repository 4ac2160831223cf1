// A checkpoint: a safetensors file with the trained parameters, the optimizer's state, how many steps were made, and what run
// it is of. It appears whole or not at all, and carries a checksum of everything in it: a damaged one is refused.

import LensFiles
import LensModel
import LensTensor

/// What goes on from where it was.
struct RunCheckpoint {
    let step: Int
    /// What run it is of: settings, data, model.
    let run: JSON
    private let file: SafetensorsFile

    private static let format = "lens-training-1"

    /// Writes the state of `trainer` to `path`.
    /// - Throws: `LensError(.file)`.
    static func write(_ trainer: Trainer, run: JSON, to path: String) throws {
        let saved = trainer.optimizer.saved, description = try run.text()
        var checksum = Checksum(step: trainer.stepCount, run: description)
        for (name, tensor) in saved.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            try tensor.withUnsafeElements { checksum.add(name, tensor.shape, UnsafeRawBufferPointer($0)) }
        }
        let contents = try saved.map { name, tensor in
            try TensorContent(name, .f32, shape: tensor.shape) { write in try tensor.withUnsafeElements { try write(UnsafeRawBufferPointer($0)) } }
        }
        try SafetensorsWriter.write(contents, metadata: ["format": format, "step": "\(trainer.stepCount)", "run": description, "checksum": checksum.text], to: path)
    }

    /// Opens and checks one.
    /// - Throws: `LensError(.format)` for a file that is damaged or no checkpoint.
    init(path: String) throws {
        file = try SafetensorsFile(path: path)
        let metadata = file.metadata
        guard metadata["format"] == Self.format, let step = metadata["step"].flatMap({ Int($0) }), step >= 0, let description = metadata["run"] else {
            throw LensError(.format, "not a training checkpoint", at: path, expected: Self.format, found: metadata["format"] ?? "nothing")
        }
        self.step = step
        run = try JSON.parse(description, at: path)
        var checksum = Checksum(step: step, run: description)
        for name in file.names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            let bytes = try file.bytes(of: name), shape = try file.requireEntry(name).shape
            bytes.withUnsafeBytes { checksum.add(name, shape, $0) }
        }
        guard metadata["checksum"] == checksum.text else {
            throw LensError(.format, "a damaged checkpoint", at: path, expected: "checksum \(metadata["checksum"] ?? "missing")", found: checksum.text)
        }
    }

    /// Gives the trainer this state.
    /// - Throws: `LensError(.weights)` if it is of another model.
    func restore(_ trainer: inout Trainer) throws {
        do { try trainer.restore(stepCount: step) { try Tensor(stored: $0, in: file) } } catch let error as LensError { throw error.located(in: file.location) }
    }
}

/// CRC-32 of step, run, and each tensor's name, shape and bytes.
struct Checksum {
    private var crc = CRC32()

    init(step: Int, run: String) { crc.update(Array("\(step)\n\(run)\n".utf8)) }

    mutating func add(_ name: String, _ shape: [Int], _ bytes: UnsafeRawBufferPointer) {
        crc.update(Array("\(name)\(shape)\n".utf8))
        crc.update(bytes)
    }

    var text: String { "crc32:" + String(crc.value, radix: 16) }
}

/// The checkpoints of a run, in its folder, by step.
struct CheckpointFolder {
    let path: String

    /// Steps there is a file for, the last first.
    var steps: [Int] { fileNames(in: path).compactMap(Self.step).sorted(by: >) }

    func file(_ step: Int) -> String {
        let digits = String(step)
        return "\(path)/step-\(String(repeating: "0", count: max(0, 9 - digits.count)))\(digits).safetensors"
    }

    private static func step(_ name: String) -> Int? {
        guard name.hasPrefix("step-"), name.hasSuffix(".safetensors") else { return nil }
        return Int(name.dropFirst(5).dropLast(12))
    }

    /// The last good checkpoint, and why later ones were refused; nil where there is none at all.
    /// - Throws: `LensError(.format)` if there are some, and none is good.
    func latest() throws -> (checkpoint: RunCheckpoint, refused: [String])? {
        var refused: [String] = []
        for step in steps {
            do {
                let checkpoint = try RunCheckpoint(path: file(step))
                guard checkpoint.step == step else {
                    throw LensError(.format, "a checkpoint under another step's name", at: file(step), expected: "step \(step)", found: "\(checkpoint.step)")
                }
                return (checkpoint, refused)
            } catch let error as LensError { refused.append("\(error)") }
        }
        if refused.isEmpty { return nil }
        throw LensError(.format, "none of the checkpoints is good", at: path, found: refused.joined(separator: "; "), advice: "remove them to begin anew")
    }

    /// Removes all but the last `count` up to `step`, and what writers that were killed left.
    func prune(keeping count: Int) {
        for step in steps.dropFirst(count) { removeFile(file(step)) }
        for name in fileNames(in: path) where name.hasPrefix(".lens-") && name.hasSuffix(".partial") { removeFile("\(path)/\(name)") }
    }
}

// The golden folders of Tests/ModelTests: what was run, and what TransformerLens and Hugging Face made of it
// (Tests/ModelTests/Goldens/README.md says what each field means). Refuses a run with a field it does not know, so that
// nothing a golden asks for is passed over.

import Foundation
import LensFiles
import LensModel
import LensTensor

/// Folders that tests read.
public enum TestFolders {
    private static let root = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    /// Tests/ModelTests/Goldens.
    public static let goldens = root + "/Tests/ModelTests/Goldens"
    /// The folders of decoders' goldens, in order: those that hold a `golden.json`.
    public static let goldenNames: [String] = (try? FileManager.default.contentsOfDirectory(atPath: goldens))?
        .filter { FileManager.default.fileExists(atPath: "\(goldens)/\($0)/golden.json") }.sorted() ?? []
    /// Those of decoders whose residual stream is a sum: no encoders, no norms of sums.
    public static let sumNames: [String] = goldenNames.filter { name in
        !["bert", "distilbert", "roberta", "t5", "openai-gpt", "opt-350m"].contains { name.hasPrefix($0) }
    }
    /// Those in a family's own spelling: neither TransformerLens' state dicts (`native-`) nor its old checkpoints (`old-`).
    public static let familyNames = goldenNames.filter { !$0.hasPrefix("native-") && !$0.hasPrefix("old-") }
    /// The folder beside the repository with real models and tokenizers, in a checkout that has one.
    public static let shared = root + "/../shared"
}

/// One golden folder.
public struct Golden: Sendable, CustomStringConvertible {
    public let name: String
    public let runs: [GoldenRun]
    /// What a native model's configuration was made from.
    public let given: JSON?
    /// The parameter names and shapes of TransformerLens' state dict, in its order, where kept.
    public let stateDict: JSON?
    private let tensors: SafetensorsFile

    public init(_ name: String) throws {
        self.name = name
        let path = "\(TestFolders.goldens)/\(name)"
        let json = try JSON.parse(file: path + "/golden.json", limit: 16 << 20)
        runs = try (json["runs"] ?? .null).asArray(at: "runs").map(GoldenRun.init)
        given = json["given"]
        stateDict = json["state_dict"]
        tensors = try SafetensorsFile(path: path + "/golden.safetensors")
    }

    public var description: String { name }
    public var folder: String { "\(TestFolders.goldens)/\(name)" }

    /// The run of that name.
    public func run(_ name: String) throws -> GoldenRun {
        guard let run = runs.first(where: { $0.name == name }) else { throw LensError(.name, "no such run", at: self.name, found: name) }
        return run
    }

    /// A tensor that a run gave.
    public func tensor(_ run: GoldenRun, _ name: String) throws -> Tensor {
        let tensor = try Tensor(stored: "\(run.name)/\(name)", in: tensors)
        guard let shape = run.tensors[name], shape == tensor.shape else {
            throw LensError(.shape, "golden.json and golden.safetensors disagree", at: "\(self.name): \(run.name)/\(name)")
        }
        return tensor
    }
}

/// One run: what went in, and the shapes of what came out.
public struct GoldenRun: Sendable {
    public let name: String
    public var tokens: IntTensor?
    public var attentionMask: IntTensor?
    public var tokenTypes: IntTensor?
    /// What an encoder-decoder's encoder reads; `tokens` are then its decoder's.
    public var encoderInput: EncoderInput?
    /// TransformerLens' switches that were on.
    public var flags: Set<String> = []
    public var edits: [GoldenEdit] = []
    public var startAtLayer: Int?
    /// The activation of run `base` that goes in at `startAtLayer`.
    public var input: String?
    public var stopAtLayer: Int?
    public var tensors: [String: [Int]] = [:]
    /// Hooks in firing order, repeats kept.
    public var fired: [String] = []
    /// Of generation: the sequences, prompts included.
    public var sequences: [[Int]] = []
    public var maxNewTokens = 0
    public var padToken = 0
    public var eosToken: Int?

    init(_ json: JSON) throws {
        let object = try json.asObject(at: "run")
        name = try (object["name"] ?? .null).asString(at: "name")
        for (key, value) in object.pairs {
            let location = "\(name): \(key)"
            switch key {
            case "name", "hf_relative_error", "margin": break
            case "tokens": tokens = try IntTensor(rows: value.integerRows(location))
            case "attention_mask": attentionMask = try IntTensor(rows: value.integerRows(location))
            case "token_types": tokenTypes = try IntTensor(rows: value.integerRows(location))
            case "encoder_tokens": encoderInput = EncoderInput(try IntTensor(rows: value.integerRows(location)), attentionMask: encoderInput?.attentionMask)
            case "encoder_mask": encoderInput?.attentionMask = try IntTensor(rows: value.integerRows(location))
            case "flags": flags = Set(try value.asObject(at: location).pairs.filter { $0.value == true }.map(\.key))
            case "edits": edits = try value.asArray(at: location).map(GoldenEdit.init)
            case "start_at_layer": startAtLayer = try value.asInt(at: location)
            case "input": input = try value.asString(at: location)
            case "stop_at_layer": stopAtLayer = try value.asInt(at: location)
            case "tensors": tensors = Dictionary(uniqueKeysWithValues: try value.asObject(at: location).pairs.map { ($0.key, try $0.value.integers(location)) })
            case "fired": fired = try value.asArray(at: location).map { try $0.asString(at: location) }
            case "sequences": sequences = try value.integerRows(location)
            case "max_new_tokens": maxNewTokens = try value.asInt(at: location)
            case "pad_token_id": padToken = try value.asInt(at: location)
            case "eos_token_id": eosToken = try value.asInt(at: location)
            default: throw LensError(.format, "a golden run has a field this loader does not know", at: location)
            }
        }
    }

    /// How to run it: what went in beside the tokens.
    public var options: Transformer.Options {
        var options = Transformer.Options(attentionMask: attentionMask, startAtLayer: startAtLayer, stopAtLayer: stopAtLayer)
        options.tokenTypes = tokenTypes
        options.encoderInput = encoderInput
        return options
    }

    /// The hooks that fired, each once, where it fired first.
    public var firedOnce: [String] {
        var seen: Set<String> = []
        return fired.filter { seen.insert($0).inserted }
    }

    /// Names among `tensors` that are activations, in firing order.
    public var activations: [String] { firedOnce.filter { tensors[$0] != nil } }
}

/// An edit of a golden run.
public struct GoldenEdit: Sendable {
    public enum Operation: Sendable {
        case set(Float), multiply(Float), add(Float)
        case copy(from: [TensorIndex])
    }

    public let site: String
    public let at: [TensorIndex]
    public let operation: Operation

    init(_ json: JSON) throws {
        let object = try json.asObject(at: "edit")
        site = try (object["site"] ?? .null).asString(at: "site")
        at = try (object["at"] ?? []).indices("at")
        func value() throws -> Float {
            if object["value"]?.stringValue == "-inf" { return -.infinity }
            return Float(try (object["value"] ?? .null).asDouble(at: "value"))
        }
        switch try (object["operation"] ?? .null).asString(at: "operation") {
        case "set": operation = .set(try value())
        case "multiply": operation = .multiply(try value())
        case "add": operation = .add(try value())
        case "copy": operation = .copy(from: try (object["from"] ?? .null).indices("from"))
        case let other: throw LensError(.format, "a golden edit has an operation this loader does not know", at: site, found: other)
        }
        let known = ["site", "at", "operation", "value", "from"]
        if let unknown = object.keys.first(where: { !known.contains($0) }) {
            throw LensError(.format, "a golden edit has a field this loader does not know", at: site, found: unknown)
        }
    }

    /// Makes the edit.
    public func apply(to tensor: inout Tensor) throws {
        let old = try tensor.view(at)
        switch operation {
        case .set(let value): try tensor.assign(Tensor(value), at: at)
        case .multiply(let value): try tensor.assign(old * Tensor(value), at: at)
        case .add(let value): try tensor.assign(old + Tensor(value), at: at)
        case .copy(let from): try tensor.assign(tensor.view(from), at: at)
        }
    }
}

extension JSON {
    /// An array of integers.
    public func integers(_ location: String) throws -> [Int] { try asArray(at: location).map { try $0.asInt(at: location) } }
    /// An array of arrays of integers.
    public func integerRows(_ location: String) throws -> [[Int]] { try asArray(at: location).map { try $0.integers(location) } }

    /// null: whole; a number; `[start, end]`.
    fileprivate func indices(_ location: String) throws -> [TensorIndex] {
        try asArray(at: location).map { entry in
            if entry.isNull { return .all }
            if let position = entry.intValue { return .at(position) }
            let bounds = try entry.integers(location)
            guard bounds.count == 2 else { throw LensError(.format, "not a range", at: location) }
            return .span(bounds[0], bounds[1])
        }
    }
}

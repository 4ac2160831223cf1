// The goldens of the analyses (Goldens/README.md), and what tests of this target share.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

/// Folders of goldens, each a model raw and processed.
enum AnalysisGoldens {
    static let names = ["gpt2", "llama", "pythia"]
    static let folder = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/Goldens"

    /// The model, as its state dict has it.
    static func raw(_ name: String) throws -> Transformer {
        let config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: "\(folder)/\(name)/tl_config.json", limit: 1 << 20))
        return try Transformer(config: config, savedParameters: SafetensorsFile(path: "\(folder)/\(name)/state_dict.safetensors"))
    }

    /// `raw`, `processed` or `one-row` of a model: what TransformerLens gave.
    static func cases(_ name: String, _ kind: String) throws -> CaseFile { try CaseFile("\(folder)/\(name)/\(kind)") }

    static func model(_ name: String, _ kind: String) throws -> Transformer {
        kind == "raw" ? try raw(name) : try raw(name).processWeights()
    }
}

/// What TransformerLens gave for a list of calls.
struct CaseFile {
    let tokens: IntTensor
    let cases: [Case]
    private let tensors: SafetensorsFile

    /// One call.
    struct Case: CustomStringConvertible {
        let method: String
        let arguments: JSON
        let labels: [String]?
        let expected: Tensor
        var description: String { "\(method) \((try? arguments.text()) ?? "")" }

        func int(_ name: String) -> Int? { arguments[name]?.intValue }
        func flag(_ name: String) -> Bool { arguments[name] == true }
        func string(_ name: String) -> String? { arguments[name]?.stringValue }
        func slice(_ name: String) -> AxisSlice {
            guard let value = arguments[name] else { return .all }
            if let place = value.intValue { return .at(place) }
            if let places = value.arrayValue { return .list(places.compactMap(\.intValue)) }
            let bounds = value["span"]?.arrayValue?.compactMap(\.intValue) ?? []
            return bounds.count == 1 ? .span(0, bounds[0]) : .span(bounds.first ?? 0, bounds.last)
        }
        /// Integers of any shape.
        func tokens(_ name: String) throws -> IntTensor? {
            guard let value = arguments[name] else { return nil }
            if let one = value.intValue { return try IntTensor([one], shape: []) }
            let rows = value.arrayValue ?? []
            if rows.first?.arrayValue != nil { return try IntTensor(rows: rows.map { ($0.arrayValue ?? []).compactMap(\.intValue) }) }
            return IntTensor(rows.compactMap(\.intValue))
        }
    }

    init(_ path: String) throws {
        let json = try JSON.parse(file: path + ".json", limit: 1 << 20), file = try SafetensorsFile(path: path + ".safetensors")
        tensors = file
        tokens = try IntTensor(rows: (json["tokens"]?.arrayValue ?? []).map { ($0.arrayValue ?? []).compactMap(\.intValue) })
        cases = try (json["cases"]?.arrayValue ?? []).map { item in
            Case(method: item["method"]?.stringValue ?? "", arguments: item["args"] ?? .null,
                 labels: item["labels"]?.arrayValue?.compactMap(\.stringValue), expected: try Tensor(stored: item["tensor"]?.stringValue ?? "", in: file))
        }
    }

    func tensor(_ name: String) throws -> Tensor { try Tensor(stored: name, in: tensors) }
}

/// Expects `actual` to be the reference within the goldens' tolerance.
func expectClose(_ actual: Tensor, _ expected: Tensor, _ what: String, tolerance: Double = goldenTolerance, sourceLocation: SourceLocation = #_sourceLocation) {
    if let problem = difference(actual, expected, tolerance: tolerance).problem { Issue.record("\(what): \(problem)", sourceLocation: sourceLocation) }
}

/// Expects a `LensError` of `kind` whose line holds every part.
func expectError<R>(_ kind: LensError.Kind, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation, from body: () throws -> R) {
    do {
        _ = try body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as LensError {
        #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
        for part in parts { #expect("\(error)".contains(part), "\(error)", sourceLocation: sourceLocation) }
    } catch {
        Issue.record("not a LensError: \(error)", sourceLocation: sourceLocation)
    }
}

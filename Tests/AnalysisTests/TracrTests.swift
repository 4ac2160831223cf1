// Tracr models: a small program built by hand, whose behaviour is known; and TransformerLens' tests of its converter.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct TracrTests {
    private let tokens = ["a", "b", "c"], context = 4

    /// `shift`: each position puts out the token before it. Attention looks one position back (queries of position i match keys
    /// of i − 1); values are tokens; W_O writes them where the output is read.
    private func program(causal: Bool) -> JSON {
        let labels = tokens.map { "tokens:\($0)" } + (0..<context).map { "indices:\($0)" } + ["one"] + tokens.map { "shift_1:\($0)" }
        let width = labels.count, key = 4
        func matrix(_ rows: Int, _ columns: Int, _ ones: [(Int, Int, Double)]) -> JSON {
            .array((0..<rows).map { row in .array((0..<columns).map { column in .double(ones.first { $0.0 == row && $0.1 == column }?.2 ?? 0) }) })
        }
        func zeros(_ count: Int) -> JSON { .array(Array(repeating: 0.0, count: count)) }
        let embed = matrix(3, width, (0..<3).map { ($0, $0, 1) } + (0..<3).map { ($0, 7, 1) }), positions = matrix(context, width, (0..<context).map { ($0, 3 + $0, 1) })
        let attention: [(String, JSON)] = [
            ("query", ["w": matrix(width, key, (1..<context).map { (3 + $0, $0 - 1, 200) }), "b": zeros(key)]),
            ("key", ["w": matrix(width, key, (0..<context).map { (3 + $0, $0, 1) }), "b": zeros(key)]),
            ("value", ["w": matrix(width, key, (0..<3).map { ($0, $0, 1) }), "b": zeros(key)]),
            ("linear", ["w": matrix(key, width, (0..<3).map { ($0, 8 + $0, 1) }), "b": zeros(width)]),
        ]
        var params = JSONObject([("token_embed", ["embeddings": embed]), ("pos_embed", ["embeddings": positions])])
        for (name, values) in attention { params["transformer/layer_0/attn/\(name)"] = values }
        params["transformer/layer_0/mlp/linear_1"] = ["w": matrix(width, 2, []), "b": zeros(2)]
        params["transformer/layer_0/mlp/linear_2"] = ["w": matrix(2, width, []), "b": zeros(width)]
        return ["model_config": ["num_heads": 1, "num_layers": 1, "key_size": .int(key), "mlp_hidden_size": 2, "causal": .bool(causal), "layer_norm": false],
                "residual_labels": .array(labels.map(JSON.string)), "output_encoder": ["encoding_map": ["c": 0, "a": 2, "b": 1]], "params": .object(params)]
    }

    private func model(_ json: JSON, _ body: (String) throws -> Void) throws {
        try withTemporaryFolder { folder in
            try write(json.text(), to: folder + "/model.json")
            try body(folder)
        }
    }

    @Test(arguments: [true, false]) func shifts(_ causal: Bool) throws {
        try model(program(causal: causal)) { folder in
            let tracr = try TracrModel(file: folder + "/model.json")
            let model = try tracr.transformer(outputLabel: "shift_1")
            #expect(model.config.attention.direction == (causal ? .causal : .bidirectional) && model.config.dVocabOut == 3)
            let columns = Dictionary(uniqueKeysWithValues: tracr.outputEncoding.map { ($0.column, $0.value) })
            for first in 0..<3 {
                for second in 0..<3 {
                    let input = [first, second, 2, first]
                    let logits = try #require(model.run(.tokens(IntTensor(rows: [input]))).logits), best = try logits.argmax()
                    for place in 1..<4 { #expect(columns[best[0, place]] == tokens[input[place - 1]]) }
                    #expect(try abs((logits.at(.at(0), .at(1)).array.max() ?? 0) - 1) < 1e-4)
                }
            }
        }
    }

    @Test func parametersInNumPyFiles() throws {
        try model(program(causal: false)) { folder in
            let whole = try TracrModel(file: folder + "/model.json").transformer(outputLabel: "shift_1")
            var contents: [TensorContent] = []
            for (module, parameters) in try #require(program(causal: false)["params"]?.objectValue).pairs {
                for (name, value) in try parameters.asObject(at: module).pairs {
                    let rows = value.arrayValue ?? [], isMatrix = rows.first?.arrayValue != nil
                    let numbers = (isMatrix ? rows.flatMap { $0.arrayValue ?? [] } : rows).compactMap { $0.doubleValue.map { Float($0) } }
                    contents.append(try TensorContent("\(module)/\(name)", shape: isMatrix ? [rows.count, numbers.count / rows.count] : [rows.count], numbers))
                }
            }
            try NumPyWriter.write(npz: contents, to: folder + "/params.npz")
            let parts = try TracrModel(file: folder + "/model.json", parameters: folder + "/params.npz").transformer(outputLabel: "shift_1")
            for name in whole.parameters.names { #expect(try parts.parameters[name].array == whole.parameters[name].array, "\(name)") }
        }
    }

    /// What TransformerLens' converter refuses.
    @Test func refusals() throws {
        func refuses(_ kind: LensError.Kind, _ part: String, label: String? = "shift_1", _ change: (inout JSONObject) -> Void) throws {
            var object = try program(causal: false).asObject(at: "program")
            change(&object)
            try model(.object(object)) { folder in expectError(kind, part) { try TracrModel(file: folder + "/model.json").transformer(outputLabel: label) } }
        }
        // Tokens and output have the same values.
        try refuses(.usage, "Could not infer Tracr output label", label: nil) { _ in }
        try refuses(.usage, "Could not find output basis label", label: "other") { _ in }
        try refuses(.config, "only categorical Tracr outputs") { $0["output_encoder"] = [:] }
        try refuses(.config, "layer norms are not supported") {
            $0["model_config"] = ["num_heads": 1, "num_layers": 1, "key_size": 4, "mlp_hidden_size": 2, "layer_norm": true]
        }
        try refuses(.format, "columns of outputs") { $0["output_encoder"] = ["encoding_map": ["a": 0, "b": 5]] }
        try refuses(.weights, "missing parameter") { $0["params"] = ["token_embed": ["embeddings": [[1.0]]]] }
        try refuses(.weights, "another width") { $0["residual_labels"] = ["tokens:a"] }
    }
}

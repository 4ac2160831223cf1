// TransformerLens' text methods, against TransformerLens 3.9.0 on two small tokenizers (Goldens/make_text_goldens.py).

import LensFiles
import LensModel
import LensTensor
import LensTestSupport
import LensText
import Testing
import TransformerLens

@Suite struct TextMethodTests {
    private static let folder = String(#filePath.dropLast("ModelTests/TextMethodTests.swift".count))

    private let golden: JSON
    private let model: HookedTransformer
    private let texts: [String]

    /// The model and what TransformerLens says, of one tokenizer.
    private init(_ name: String) throws {
        golden = try #require(try JSON.parse(file: Self.folder + "ModelTests/Goldens/text.json")[name])
        texts = try #require(golden["texts"]?.arrayValue).map { try $0.asString(at: "texts") }
        let json = try #require(try JSON.parse(file: Self.folder + "TextTests/Goldens/\(name).json")["tokenizer"])
        var config = TokenizerConfig()
        config.bosToken = golden["config"]?["bos_token"]?.stringValue
        config.eosToken = golden["config"]?["eos_token"]?.stringValue
        config.unkToken = golden["config"]?["unk_token"]?.stringValue
        config.paddingSide = golden["config"]?["padding_side"]?.stringValue
        let transformer = try Transformer.random(ModelConfig(nLayers: 1, dModel: 4, nCtx: 16, dHead: 2, actFn: .relu, dVocab: 1000), seed: 1)
        model = HookedTransformer(transformer, tokenizer: try Tokenizer(json: json, config: config))
    }

    init() throws { try self.init("byte_level") }

    private static let names = ["byte_level", "llama"]
    private static let choices: [(String, Bool?)] = [("None", nil), ("True", true), ("False", false)]

    @Test(arguments: names)
    func tokensOfTexts(_ name: String) throws {
        let test = try TextMethodTests(name)
        for (key, bos) in Self.choices {
            for (index, text) in test.texts.enumerated() {
                for (kind, truncates) in [("tokens", true), ("long", false)] {
                    guard let expected = test.golden["\(kind) \(key)"]?.arrayValue?[index], !expected.isNull else { continue }
                    let ids = try expected.integers("ids")
                    #expect(try test.model.toTokens(text, prependBOS: bos, truncate: truncates).array == ids, "\(kind) \(key) \(text)")
                }
                let strings = try #require(test.golden["str_tokens \(key)"]?.arrayValue?[index])
                if strings.isNull { continue }
                let ours = try test.model.toStrTokens(text, prependBOS: bos)
                // Of no tokens transformers makes one empty text.
                if ours.isEmpty, try strings.asArray(at: "strings") == [""] { continue }
                #expect(try ours.map(ExactString.init) == strings.asArray(at: "strings").map { ExactString(try $0.asString(at: "string")) })
            }
            for (side, padding) in [("left", PaddingSide.left), ("right", .right), ("None", nil)] {
                let rows = try #require(test.golden["batch \(side) \(key)"]).integerRows("batch")
                let batch = try test.model.toTokens(Array(test.texts[2..<7]), prependBOS: bos, paddingSide: padding)
                #expect(batch.rows == rows, "\(side) \(key)")
            }
        }
    }

    @Test(arguments: names)
    func stringsAndSingleTokens(_ name: String) throws {
        let test = try TextMethodTests(name)
        let strings = try test.model.toString(test.model.toTokens(Array(test.texts[2..<7])))
        let expected = try #require(test.golden["strings"]?.arrayValue).map { try $0.asString(at: "strings") }
        #expect(strings.map(ExactString.init) == expected.map(ExactString.init))
        for (text, single) in zip(test.texts, try #require(test.golden["single"]?.arrayValue)) {
            if let id = single.intValue { #expect(try test.model.toSingleToken(text) == id) } else {
                #expect(throws: LensError.self) { try test.model.toSingleToken(text) }
            }
        }
        let tokens = try test.model.toTokens(test.texts[3])
        let singles = try #require(test.golden["single_str"]?.arrayValue)
        for (token, text) in zip(tokens.array, singles) { #expect(try test.model.toSingleStrToken(token) == text.stringValue) }
        #expect(try test.model.toStrTokens(tokens) == singles.compactMap(\.stringValue))
    }

    @Test(arguments: names)
    func positions(_ name: String) throws {
        let test = try TextMethodTests(name), text = test.texts[3]
        for item in try #require(test.golden["position"]?.arrayValue) {
            let parts = try item.asArray(at: "position"), token = try parts[0].asInt(at: "token")
            #expect(try test.model.getTokenPosition(token, in: text) == parts[1].intValue)
            #expect(try test.model.getTokenPosition(token, in: text, mode: .last) == parts[2].intValue)
            #expect(try test.model.getTokenPosition(token, in: test.model.toTokens(text)) == parts[1].intValue)
            if let place = parts[3].intValue {
                #expect(try test.model.getTokenPosition(token, in: text, prependBOS: false) == place)
            } else {
                expectError(.text, "does not occur") { try test.model.getTokenPosition(token, in: text, prependBOS: false) }
            }
        }
    }

    @Test(arguments: names)
    func rowsOfManyTexts(_ name: String) throws {
        let test = try TextMethodTests(name), tokenizer = try #require(test.model.tokenizer)
        let documents = Array(repeatElement(test.texts[2...], count: 3).joined())
        for (length, bos, count) in [(8, true, 21), (8, false, 21), (9, true, 1), (200, true, 2), (200, false, 2)] {
            let expected = try #require(test.golden["rows \(length) \(bos ? "True" : "False") \(count)"]).integerRows("rows")
            let rows = try tokenizer.tokenizeAndConcatenate(Array(documents.prefix(count)), maxLength: length, addBOSToken: bos)
            #expect(rows == expected, "\(length) \(bos) \(count)")
        }
        expectError(.usage, "rows without room") { try tokenizer.tokenizeAndConcatenate(["a"], maxLength: 1) }
    }
}

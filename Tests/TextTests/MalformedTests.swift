// Tokenizer files that are wrong: each gives one clear line, and none crashes.
import Testing
import LensFiles
@testable import LensText

@Suite struct MalformedTests {
    /// A tokenizer with something of everything.
    static let text = """
    {"version": "1.0", "truncation": null, "padding": null,
     "added_tokens": [{"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
      {"id": 12, "content": "<x>", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": false}],
     "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "Strip", "strip_left": true, "strip_right": true}]},
     "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true},
      {"type": "Split", "pattern": {"String": "-"}, "behavior": "MergedWithNext", "invert": false}, {"type": "Digits", "individual_digits": true},
      {"type": "Punctuation", "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]},
     "post_processor": {"type": "Sequence", "processors": [{"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<unk>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
      "special_tokens": {"<unk>": {"id": "<unk>", "ids": [0], "tokens": ["<unk>"]}}},
      {"type": "RobertaProcessing", "sep": ["b", 2], "cls": ["a", 1], "trim_offsets": true, "add_prefix_space": true}]},
     "decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Strip", "content": "a", "start": 1, "stop": 1}, {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}]},
     "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
      "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
      "vocab": {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5, "▁": 6, "▁a": 7, "<0x41>": 8, "Ġ": 9, "â": 10, "Ġa": 11},
      "merges": ["a b", "ab c", "▁ a", "Ġ a"]}}
    """

    /// The components that the other one lacks, around each of the other models.
    static let others = [
        #"{"type": "Unigram", "unk_id": 0, "byte_fallback": true, "vocab": [["<unk>", 0], ["a", -1.5], ["b", -2], ["ab", -1], ["<0x41>", -9], ["▁", -3]]}"#,
        ###"{"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9, "vocab": {"<unk>": 0, "a": 1, "##b": 2}}"###,
        #"{"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "ab": 1, "-": 2}}"#,
    ].map { model in
        """
        {"version": "1.0",
         "truncation": {"direction": "Left", "max_length": 12, "strategy": "LongestFirst", "stride": 1},
         "padding": {"strategy": {"Fixed": 12}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 1, "pad_type_id": 2, "pad_token": "a"},
         "added_tokens": [],
         "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFKC"}, {"type": "Nmt"}, {"type": "Lowercase"},
          {"type": "StripAccents"}, {"type": "Replace", "pattern": {"Regex": " {2,}|(?i)x"}, "content": " "},
          {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
          {"type": "Precompiled", "precompiled_charsmap": "CAAAAAAAAAAAAAAAYQA="}, {"type": "ByteLevel"}]},
         "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, {"type": "Whitespace"}, {"type": "WhitespaceSplit"},
          {"type": "CharDelimiterSplit", "delimiter": "-"}, {"type": "UnicodeScripts"}, {"type": "FixedLength", "length": 7},
          {"type": "Split", "pattern": {"Regex": "[a-z]+(?!b)|\\\\s"}, "behavior": "Isolated", "invert": true}]},
         "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
          {"type": "BertProcessing", "sep": ["a", 1], "cls": ["<unk>", 0]}, {"type": "TemplateProcessing",
          "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
          {"SpecialToken": {"id": "x", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
          "special_tokens": {"x": {"id": "x", "ids": [1, 2], "tokens": ["a", "b"]}}}]},
         "decoder": {"type": "Sequence", "decoders": [{"type": "WordPiece", "prefix": "##", "cleanup": true}, {"type": "BPEDecoder", "suffix": "b"},
          {"type": "CTC", "pad_token": "a", "word_delimiter_token": "|", "cleanup": true}, {"type": "Replace", "pattern": {"Regex": "a|b"}, "content": "c"}]},
         "model": \(model)}
        """
    }

    /// Loads, and if it loads uses, a tokenizer. Whatever is thrown must be a LensError of one line.
    private func use(_ json: JSON) {
        do {
            let tokenizer = try Tokenizer(json: json)
            let ids = try tokenizer.encode(text: "abc <x> a-b 12, é\u{301}ᄒ abAB")
            _ = try tokenizer.decode(tokens: ids.filter { $0 < tokenizer.vocabularySize })
            let pair = try tokenizer.encoding(text: "abc <x> a-b", pair: " é 中ab")
            #expect(pair.tokens.count == pair.count && pair.offsets.count == pair.count && pair.typeIDs.count == pair.count)
        } catch let error as LensError {
            #expect(!error.description.contains("\n") && !error.what.isEmpty)
        } catch {
            Issue.record("not a LensError: \(error)")
        }
    }

    @Test func theWholeOneLoads() throws {
        let tokenizer = try Tokenizer(json: try JSON.parse(Self.text))
        for other in Self.others {
            let whole = try Tokenizer(json: try JSON.parse(other))
            #expect(try whole.encode(text: "ab ab").count % 8 == 0)
            #expect(try whole.encoding(text: "ab", pair: "ab").count == 16)
        }
        #expect(tokenizer.vocabularySize == 13 && tokenizer.prependsBOS && tokenizer.addedTokens.count == 2)
    }

    /// Every value of the file in turn replaced by others, and every member left out.
    @Test(arguments: [text] + others) func everyValueReplaced(_ text: String) throws {
        let whole = try JSON.parse(text)
        let others: [JSON] = [nil, true, -1, 3, 2_147_483_647, 4_294_967_296, 1.5, 1e300, "", "x", "▁", [], ["a"], [1, 2],
                              [:], ["type": "BPE"], ["type": "Sequence"], ["String": ""], ["Regex": "a+"],
                              ["Fixed": 3]]
        var count = 0
        forEachPath(whole, []) { path in
            use(replacing(whole, path[...], with: nil))
            for other in others { use(replacing(whole, path[...], with: other)) }
            count += 1 + others.count
        }
        #expect(count > 2_000)
    }

    /// Bytes of the file changed, dropped, doubled and cut off, by a fixed generator.
    @Test(arguments: [text] + others) func bytesDamaged(_ text: String) throws {
        let whole = Array(text.utf8)
        var state: UInt64 = 42
        func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        for _ in 0..<500 {
            var bytes = whole
            for _ in 0...next(3) {
                let place = next(bytes.count)
                switch next(5) {
                case 0: bytes[place] = UInt8(next(256))
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(bytes[place], at: place)
                case 3: bytes[place] = Array("0123456789\"{}[],:-".utf8)[next(18)]
                default: bytes.removeLast(min(next(40), bytes.count - 1))
                }
            }
            if let json = try? JSON.parse(bytes, at: "damaged") { use(json) }
        }
    }

    @Test(arguments: [
        (#""ab c""#, #""ab z""#, "merge of a token that is not in the vocabulary (model.merges[1]): found \"z\""),
        (#""ab c""#, #""b c""#, "merge of a token that is not in the vocabulary (model.merges[1]): found \"bc\""),
        (#""ab c""#, #""a b c""#, "bad merge"),
        (#""ab c""#, #"["ab", "c"]"#, "bad merge"),
        (#""c": 3"#, #""c": 2"#, "two tokens with one id (model.vocab): found 2 for \"b\" and \"c\""),
        (#""c": 3"#, #""c": -3"#, "token with an impossible id (model.vocab.c)"),
        (#""c": 3"#, #""c": 4294967296"#, "token with an impossible id"),
        (#""id": 12"#, #""id": 13"#, "added token with an id of its own (added_tokens[1].id): expected 12 for \"<x>\", found 13"),
        (#""content": "<x>""#, #""content": "abc""#, "added token with an id of its own"),
        (#""single_word": true"#, #""single_words": true"#, "missing member (added_tokens[1]): expected \"single_word\""),
        (#""type": "BPE""#, #""type": "Trigram""#, "unsupported model (model.type)"),
        (#""type": "Fuse""#, #""type": "Fuzz""#, "unsupported decoder (decoder.decoders[2].type)"),
        (#""type": "Prepend""#, #""type": "NFE""#, "unsupported normalizer"),
        (#""type": "Digits""#, #""type": "BartPreTokenizer""#, "unsupported pre_tokenizer"),
        (#"{"String": "-"}"#, #"{"Regex": "[-"}"#, "regular expression: unclosed ["),
        (#"{"String": "-"}"#, #"{"Regex": "a**)"}"#, "regular expression: unmatched )"),
        (#"{"String": "-"}"#, #"{"Regex": "(?:(?:ab){300}){300}"}"#, "regular expression: too large"),
        (#"{"String": "-"}"#, #"{"Regex": "\\p{Klingon}"}"#, "regular expression: unknown property (pre_tokenizer.pretokenizers[1].pattern.Regex)"),
        (#"{"String": "-"}"#, #"{"Rogex": "a"}"#, "no pattern"),
        (#""id": "A""#, #""id": "B""#, "template of one text with another text in it"),
        (#""SpecialToken": {"id": "<unk>""#, #""SpecialToken": {"id": "<s>""#, "template with a token that special_tokens lacks"),
        (#""version": "1.0""#, #""version": "2.0""#, "unknown tokenizer version"),
        (#""padding": null"#, #""stuffing": null"#, "unknown member (tokenizer.stuffing)"),
    ])
    func saysWhatIsWrong(_ before: String, _ after: String, _ message: String) throws {
        let parts = Self.text.split(separator: before, maxSplits: 1, omittingEmptySubsequences: false)
        try #require(parts.count == 2)
        let error = #expect(throws: LensError.self) { try Tokenizer(json: try JSON.parse(parts[0] + after + parts[1])) }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
    }

    @Test func filesThatAreNotThere() throws {
        #expect(throws: LensError.self) { try Tokenizer(folder: "/no/such/folder") }
        #expect(throws: LensError.self) { try Tokenizer(folder: Places.tests) }
        #expect(throws: LensError.self) { try Tokenizer(file: Places.tests) }
        let error = #expect(throws: LensError.self) { try Tokenizer(file: Places.goldens + "/strings.json") }
        #expect(error?.location?.hasPrefix(Places.goldens) == true)
    }

    @Test func idsThatAreNotThere() throws {
        let tokenizer = try Tokenizer(json: try JSON.parse(Self.text))
        for id in [-1, 13, Int.max, Int.min] {
            #expect(throws: LensError.self) { try tokenizer.decode(tokens: [1, id]) }
            #expect(tokenizer.token(for: id) == nil)
        }
        #expect(tokenizer.id(for: "nowhere") == nil)
    }

    @Test func unknownTokenMissing() throws {
        let json = try JSON.parse(#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "?"}}"#)
        let tokenizer = try Tokenizer(json: json)
        #expect(try tokenizer.encode(text: "aa") == [0, 0])
        #expect(throws: LensError.self) { try tokenizer.encode(text: "ab") }
    }

    // Walking a JSON value and changing it in one place. A path step is a number: of an element or of a member.

    private func forEachPath(_ json: JSON, _ path: [Int], _ body: ([Int]) -> Void) {
        if !path.isEmpty { body(path) }
        for (index, child) in children(json).enumerated() { forEachPath(child, path + [index], body) }
    }

    private func children(_ json: JSON) -> [JSON] {
        switch json {
        case .array(let list): return list
        case .object(let object): return object.values
        default: return []
        }
    }

    private func replacing(_ json: JSON, _ path: ArraySlice<Int>, with new: JSON?) -> JSON {
        guard let step = path.first else { return new ?? .null }
        let isLast = path.count == 1
        switch json {
        case .array(var list):
            if isLast && new == nil { list.remove(at: step) } else { list[step] = replacing(list[step], path.dropFirst(), with: new) }
            return .array(list)
        case .object(var object):
            let key = object.keys[step]
            object[key] = isLast && new == nil ? nil : replacing(object.values[step], path.dropFirst(), with: new)
            return .object(object)
        default: return json
        }
    }
}

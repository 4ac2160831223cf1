// Chat templates in the styles of well-known families against what transformers renders (make_chat_goldens.py).
import Testing
import LensFiles
@testable import LensText

@Suite struct ChatGoldenTests {
    static let golden = try? Places.json("\(Places.goldens)/Chat/golden.json")
    /// The time the goldens were rendered at: noon, so that the day is the same in most time zones.
    static let clock = 1_718_452_800

    private func render(_ template: String, _ conversation: JSON) throws -> String {
        var parsed = try ChatTemplate(template)
        parsed.clock = Self.clock
        var variables = (Self.golden?["tokens"]?.objectValue?.pairs ?? []).map { ($0.key, $0.value) }
        variables += (conversation["context"]?.objectValue?.pairs ?? []).map { ($0.key, $0.value) }
        return try parsed.render(messages: conversation["messages"]?.arrayValue ?? [], tools: conversation["tools"]?.arrayValue,
                                 addGenerationPrompt: conversation["prompt"]?.boolValue ?? false, variables: variables)
    }

    private func check(_ template: String, _ conversation: JSON, _ expected: JSON, _ what: String) {
        do {
            let text = try render(template, conversation)
            guard let wanted = expected.stringValue else {
                Issue.record("\(what): rendered, where transformers raises: \(text.debugDescription)")
                return
            }
            #expect(same(text, wanted), "\(what):\n\(text.debugDescription)\n\(wanted.debugDescription)")
        } catch let error as LensError {
            #expect(expected.isNull && !error.description.contains("\n"), "\(what): \(error)")
        } catch {
            Issue.record("\(what): not a LensError: \(error)")
        }
    }

    @Test func everyTemplateOnEveryConversation() throws {
        let golden = try #require(Self.golden)
        let cases = try #require(golden["cases"]?.arrayValue)
        #expect(cases.count >= 25 * 15)
        for item in cases {
            let parts = try item.asArray(at: "case"), name = try parts[0].asString(at: "name"), which = try parts[1].asString(at: "which")
            let template = try #require(golden["templates"]?[name]?.stringValue), conversation = try #require(golden["conversations"]?[which])
            check(template, conversation, parts[2], "\(name) on \(which)")
        }
    }

    @Test func snippets() throws {
        let golden = try #require(Self.golden)
        let messages = try #require(golden["conversations"]?["turns"]?["messages"])
        for item in try #require(golden["snippets"]?.arrayValue) {
            let parts = try item.asArray(at: "snippet"), template = try parts[0].asString(at: "template")
            check(template, ["messages": messages], parts[1], template)
        }
    }

    /// Templates that would run, grow or nest without end stop with an error, soon.
    @Test(arguments: [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(1000) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(1000) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = namespace(x=ns) %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ 'x' * 10**12 }}", "{{ [1] * 10**12 }}", "{{ range(10**12)|list }}",
        "{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}", "{{ 9**99 }}", "{{ 2**63 }}", "{{ 'x'|indent(10**9) }}",
        "{{ 'x'.zfill(10**9) }}", "{{ [1]|batch(10**9, 0)|list }}", "{{ 'x'.replace('', 'y' * 1000000) * 100 }}",
        "{{ -9223372036854775807 - 1 - 1 }}", "{{ '%.999f' % 1 }}", "{{ strftime_now('%' * 300) }}",
        "{% set ns = namespace(x='a') %}{% for i in range(99999) %}{% set ns.x = ns.x.replace('a', 'aa') %}{% endfor %}",
    ])
    func hostile(_ template: String) throws {
        var parsed = try ChatTemplate(template)
        parsed.limits.steps = 2_000_000
        let error = #expect(throws: LensError.self) { _ = try parsed.render(messages: [["role": "user", "content": "x"]]) }
        #expect(error?.description.contains("\n") == false)
    }

    @Test(arguments: ["(", "[", "{{ 1 + ", "{% if 1 %}", "not ", "-", "x.a", "x|f", "{% for a in b %}", "{'a': ", "1 if ", "x and ", "f("])
    func nestedWithoutEnd(_ part: String) {
        let body = String(repeating: part, count: 20_000)
        #expect(throws: LensError.self) { _ = try ChatTemplate(part.hasPrefix("{%") || part.hasPrefix("{{") ? body : "{{ \(body)") }
    }

    @Test func damage() throws {
        let golden = try #require(Self.golden)
        let conversation = try #require(golden["conversations"]?["tool_calls"])
        var state: UInt64 = 7
        func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % max(1, limit)
        }
        let marks = Array("{}%#-+()[]|.,:'\"\\ 0aeEn\n~*/=<>!_".unicodeScalars)
        var failed = 0
        for (_, template) in try #require(golden["templates"]?.objectValue).pairs {
            let whole = Array(try template.asString(at: "template").unicodeScalars)
            for _ in 0..<30 {
                var scalars = whole
                for _ in 0...next(3) {
                    let place = next(scalars.count), end = min(scalars.count, place + next(30))
                    switch next(4) {
                    case 0: scalars[place] = marks[next(marks.count)]
                    case 1: scalars.removeSubrange(place..<end)
                    case 2: scalars.insert(contentsOf: scalars[place..<end], at: next(scalars.count))
                    default: scalars.insert(marks[next(marks.count)], at: place)
                    }
                }
                do { _ = try render(String(String.UnicodeScalarView(scalars)), conversation) } catch let error as LensError {
                    #expect(!error.description.contains("\n"))
                    failed += 1
                }
            }
        }
        #expect(failed > 100)
    }
}

// Chat templates: from messages to the text a chat model was trained on. Templates are Jinja, run here as transformers
// runs them (trim_blocks, lstrip_blocks, an immutable sandbox). The language is in the files beside this one.
import LensFiles

/// A chat template, parsed.
public struct ChatTemplate: Sendable {
    private let nodes: [JinjaNode]
    /// Limits on what rendering may take; tests lower them.
    var limits = JinjaEvaluator.Limits()
    /// Seconds since 1970 that `strftime_now` shows; nil: now.
    var clock: Int?

    /// Parses a template.
    /// - Throws: `LensError` (`.format`) if it is no template, or uses what chat templates do not have.
    public init(_ text: String) throws {
        guard text.utf8.count <= 1 << 22 else {
            throw LensError(.format, "chat template too long", expected: "at most \(1 << 22) bytes", found: "\(text.utf8.count)")
        }
        do { nodes = try JinjaParser.parse(text) } catch let error as JinjaError {
            throw LensError(.format, "chat template that cannot be read: \(error.what)")
        }
    }

    /// The text of a conversation.
    ///
    /// - Parameters:
    ///   - messages: objects with "role", "content" and what else the template knows. As in transformers, members that are
    ///     null are left out, and a reasoning given as "thinking" or "reasoning" is there as "reasoning_content" too.
    ///   - tools: JSON schemas of functions; nil for none.
    ///   - addGenerationPrompt: whether the text ends where the assistant's answer begins.
    ///   - variables: more variables of the template (special tokens, flags); they go before others of their names.
    /// - Throws: `LensError` (`.text`) if the template refuses the conversation, or cannot be run on it within bounds.
    public func render(messages: [JSON], tools: [JSON]? = nil, addGenerationPrompt: Bool = false,
                       variables: [(String, JSON)] = []) throws -> String {
        guard !messages.isEmpty else { throw LensError(.usage, "a conversation without messages", expected: "at least one") }
        var evaluator = JinjaEvaluator()
        evaluator.limits = limits
        evaluator.clock = clock
        do {
            let messages = try messages.enumerated().map { try JinjaValue(Self.prepared($1, at: "messages[\($0)]")) }
            var all: [(String, JinjaValue)] = [
                ("messages", try .list(messages)), ("tools", try tools.map { try JinjaValue(.array($0)) } ?? .none), ("documents", .none),
                ("add_generation_prompt", .bool(addGenerationPrompt)),
            ]
            all += try variables.map { ($0, try JinjaValue($1)) }
            return try evaluator.render(nodes, all)
        } catch let refusal as JinjaRefusal {
            throw LensError(.text, "the chat template refuses the conversation: \(refusal.message)")
        } catch let error as JinjaLineError {
            throw LensError(.text, "the chat template cannot be run: \(error.what)", at: "chat template, line \(error.line)")
        } catch let error as JinjaError {
            throw LensError(.text, "the chat template cannot be run: \(error.what)")
        }
    }

    private static func prepared(_ message: JSON, at location: String) throws -> JSON {
        let object = try message.asObject(at: location)
        let members = object.pairs.filter { !$0.value.isNull }
        guard let reasoning = ["reasoning_content", "thinking", "reasoning"].lazy.compactMap({ key in
            members.first { $0.key == key }?.value
        }).first else { return .object(JSONObject(members.map { ($0.key, $0.value) })) }
        var result = JSONObject([("thinking", reasoning)])
        for (key, value) in members { result[key] = value }
        result["reasoning_content"] = reasoning
        return .object(result)
    }
}

extension Tokenizer {
    /// A conversation as text and as tokens.
    public struct Chat: Sendable, Hashable {
        /// What the template makes of the conversation.
        public var text: String
        /// Its tokens; the template writes special tokens itself, so none are added.
        public var tokens: [Int]
    }

    /// The template that is used on a conversation: of a given name, else the one for tools where there are tools and such
    /// a template, else the only or default one.
    ///
    /// - Throws: `LensError` (`.usage`) if there is none.
    public func chatTemplate(named name: String? = nil, hasTools: Bool = false) throws -> ChatTemplate {
        let all = config.chatTemplates
        let wanted = name ?? (hasTools && all.contains { $0.name == "tool_use" } ? "tool_use" : "default")
        guard let source = all.first(where: { ExactString($0.name) == ExactString(wanted) }) else {
            if all.isEmpty {
                throw LensError(.usage, "this tokenizer has no chat template", expected: "\"chat_template\" in tokenizer_config.json, or a chat_template.jinja",
                                advice: "is it a model made for chat?")
            }
            throw LensError(.name, "no such chat template", expected: all.map(\.name).joined(separator: ", "), found: wanted)
        }
        return try ChatTemplate(source.text)
    }

    /// Applies the chat template to a conversation, as transformers' `apply_chat_template` does.
    ///
    /// - Parameters:
    ///   - messages: objects with "role" and "content".
    ///   - tools: JSON schemas of functions the model may call.
    ///   - addGenerationPrompt: whether the text ends where the assistant's answer begins.
    ///   - additionalContext: further variables of the template, such as `enable_thinking`.
    ///   - templateName: which of several templates.
    /// - Throws: `LensError` if there is no template, or it refuses the conversation.
    public func applyChatTemplate(messages: [JSON], tools: [JSON]? = nil, addGenerationPrompt: Bool = false,
                                  additionalContext: [String: JSON] = [:], templateName: String? = nil) throws -> Chat {
        let template = try chatTemplate(named: templateName, hasTools: tools != nil)
        var variables = config.namedTokens.map { ($0.key, JSON.string($0.token)) }
        variables += additionalContext.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        let text = try template.render(messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables)
        return Chat(text: text, tokens: try encode(text: text, addSpecialTokens: false))
    }
}

// Generation as an asynchronous stream. The work is long and synchronous, so it runs on a thread that is not one of Swift's
// cooperative pool; the stream hands its steps over. Dropping or cancelling the stream stops it before the next block.

import Dispatch
import LensFiles

/// One yield of a stream: what came since the last.
public struct GenerationStep: Sendable, Hashable {
    /// New tokens of each row, in order; none for rows that had ended.
    public let tokens: [[Int]]
    /// Why each row ended: with the last yield, whose tokens may be none.
    public let finishReasons: [FinishReason]?
}

extension Transformer {
    /// Continues each prompt, telling tokens as they come.
    ///
    /// - Parameters:
    ///   - options: given up by the caller: its hooks run on the stream's own thread.
    ///   - maxTokensPerYield: steps gathered before they are told (TransformerLens' `max_tokens_per_yield`); what is left
    ///     is told at the end.
    /// - Returns: a stream that ends when generation does, and throws what `generate` throws. Cancelling the task that reads
    ///   it, or dropping it, stops the work before its next block.
    public func generateStream(_ input: GenerationInput, _ options: sending GenerationOptions = GenerationOptions(),
                               maxTokensPerYield: Int = 1) -> AsyncThrowingStream<GenerationStep, any Error> {
        let model = self
        return detachedStream(options) { options, yield in
            guard maxTokensPerYield >= 1 else {
                throw LensError(.usage, "tokens of one yield out of range", expected: "at least 1", found: "\(maxTokensPerYield)")
            }
            var gathered: [[Int]] = input.lengths.map { _ in [] }, steps = 0
            let result = try model.generate(input, options) { tokens in
                for (row, token) in tokens.enumerated() { if let token { gathered[row].append(token) } }
                steps += 1
                guard steps % maxTokensPerYield == 0 else { return true }
                yield(GenerationStep(tokens: gathered, finishReasons: nil))
                gathered = tokens.map { _ in [] }
                return true
            }
            yield(GenerationStep(tokens: gathered, finishReasons: result.finishReasons))
        }
    }
}

/// Runs `work` on a thread of its own and streams what it yields. The options' cancellation is set when the stream ends for
/// its reader, however that comes.
package func detachedStream<Element: Sendable>(
    _ options: sending GenerationOptions, _ work: @escaping @Sendable (GenerationOptions, (Element) -> Void) throws -> Void
) -> AsyncThrowingStream<Element, any Error> {
    let cancellation = options.cancellation ?? Cancellation()
    var options = options
    options.cancellation = cancellation
    // Given up by the caller (`sending`) and touched by one thread from here on.
    let handed = Handed(value: options)
    return AsyncThrowingStream { continuation in
        continuation.onTermination = { _ in cancellation.cancel() }
        // A serial queue of its own: Dispatch gives it a thread outside the cooperative pool.
        DispatchQueue(label: "swift-transformer-lens.generate").async {
            do {
                try work(handed.value) { continuation.yield($0) }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
    }
}

/// A value on its way to the one thread that will use it.
private struct Handed<Value>: @unchecked Sendable { let value: Value }

// Law 2, on any number of threads. One test at a time sets the number, which is the process's; the others do not mind.

import LensTestSupport
import Testing
import TransformerLens

@Suite(.serialized) struct ThreadTests {
    @Test(arguments: LawModels.names + LawModels.long)
    func onAnyNumberOfThreads(_ name: String) throws {
        let model = try LawModels.named(name), isLong = LawModels.long.contains(name)
        let tokens = try LawModels.tokens(model, batch: isLong ? 3 : 2, pos: isLong ? 260 : 11)
        defer { Kernels.threads = 0 }
        var first: Transformer.Output?
        for threads in [1, 2, 3] {
            Kernels.threads = threads
            let output = try model.run(.tokens(tokens), .init(cache: .all))
            if let first {
                expectSameBits(output.logits, first.logits, "\(threads) threads: logits")
                expectSameBits(output.cache, first.cache, "\(threads) threads")
            }
            first = first ?? output
        }
    }
}

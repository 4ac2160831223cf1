// The heads of a real trained model (stories260K): which is most like a previous-token head, which most like an induction
// head, and what ablating them does. Its weights lie beside the repository, not in it: without them this is skipped.

import LensTestSupport
import Testing
import TransformerLens

private let folder = TestFolders.shared + "/models/stories260K"

@Suite(.enabled(if: fileExists(folder + "/config.json"), "../shared/models/stories260K is not there"))
struct StoriesHeadsTests {
    /// Tokens that are text: not the special ones (0 to 2), nor the 256 bytes after them.
    private static let notText = Set(0...258)

    @Test(arguments: [WeightProcessing.default, .none]) func theBestHeadsMatter(_ processing: WeightProcessing) throws {
        let model = try HookedTransformer(folder: folder, processing: processing).model
        let repeated = try RepeatedSequences(for: model.config, batch: 128, length: 24, bos: 1, excluding: Self.notText, seed: 0)
        let scores = try repeated.scores(model)
        let previous = try scores.previousToken.rankedHeads(), induction = try scores.induction.rankedHeads()
        #expect(previous[0].head == HeadIndex(3, 6) && previous[0].score > 0.74 && previous[1].score < 0.63)
        #expect(induction[0].head == HeadIndex(4, 0) && induction[0].score > 0.045 && induction[1].score < 0.039)
        // Mean ablation: the head says on every input what it says on average, so that only its attending is lost.
        let means = try repeated.meanOutputs(model), loss = try repeated.loss(model)
        func rise(_ head: HeadIndex) throws -> Double {
            try repeated.loss(model, hooks: [.ablation(of: head, to: means[head.layer].at(.at(head.head)))]) - loss
        }
        #expect(abs(loss - 11.4357) < 2e-3, "\(loss)")
        let rises = (try rise(previous[0].head), try rise(induction[0].head))
        #expect(abs(rises.0 - 0.0054) < 1e-3 && abs(rises.1 - 0.0208) < 1e-3, "\(rises)")
    }
}

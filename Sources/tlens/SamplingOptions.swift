// How tokens are chosen, for every command that generates.

import ArgumentParser
import TransformerLens

struct SamplingOptions: ParsableArguments {
    @Option(help: ArgumentHelp("0 takes the most likely token; higher is more varied.", valueName: "t"))
    var temperature = 1.0

    @Option(help: ArgumentHelp("Choose among the k most likely tokens.", valueName: "k"))
    var topK: Int?

    @Option(help: ArgumentHelp("Choose among the fewest tokens whose probabilities reach p.", valueName: "p"))
    var topP: Double?

    @Option(help: ArgumentHelp("Only tokens at least p times as likely as the likeliest.", valueName: "p"))
    var minP: Double?

    @Option(help: ArgumentHelp("Divide (if negative, multiply) logits of tokens that have come.", valueName: "x"))
    var repetitionPenalty = 1.0

    @Option(help: ArgumentHelp("Take x from a logit each time its token has come.", valueName: "x"))
    var frequencyPenalty = 0.0

    @Option(help: ArgumentHelp("Take x from a logit if its token has come.", valueName: "x"))
    var presencePenalty = 0.0

    @Option(help: ArgumentHelp("The same seed gives the same text.", valueName: "s"))
    var seed: UInt64 = 0

    var sampling: Sampling {
        Sampling(temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: repetitionPenalty,
                 frequencyPenalty: frequencyPenalty, presencePenalty: presencePenalty, seed: seed)
    }

    func validate() throws {
        do { try sampling.validate() } catch { throw ValidationError("\(error)") }
        if temperature == 0, frequencyPenalty != 0 || presencePenalty != 0 {
            throw ValidationError("frequency and presence penalties come after the temperature: at 0 they do nothing")
        }
    }
}

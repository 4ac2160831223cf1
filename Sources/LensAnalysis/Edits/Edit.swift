// Edits as data: what an experiment changes, in a form that can be kept in a file and run again. One is a line of text,
//
//     zero blocks.5.attn.hook_z heads=3 at=last
//     scale resid_post3 by=0.5 at=new
//     add resid_post3 from=joy.gguf tensor=direction.3 by=4 at=new
//     set mlp_out2 value=0.1 at=0,2..4
//     patch z5 prompt="Then Mary gave a drink to" heads=0,2 at=last
//     mean hook_z prompts_file=prompts.txt at=all
//
// or the same as a JSON object: {"op": "zero", "site": "blocks.5.attn.hook_z", "heads": [3], "at": ["last"]}.

import LensFiles
import LensHooks

/// One edit, parsed and not yet bound to a model.
public struct Edit: Sendable, Hashable {
    /// What is done to the activation at the chosen heads and positions.
    public enum Operation: Sendable, Hashable {
        case zero
        /// Multiplied by a number.
        case scale(Double)
        /// A value times `by` is added.
        case add(Value, by: Double)
        /// Replaced by a value.
        case set(Value)
        /// Replaced by the same activation of another prompt, or of a run that was saved.
        case patch(Origin, at: Int?)
        /// Replaced by its mean over prompts.
        case mean(prompts: [String], file: String?, over: Average)
    }

    /// A value that broadcasts to one position's activation.
    public enum Value: Sendable, Hashable {
        case number(Double)
        /// A tensor of a safetensors, npz or GGUF file.
        case file(String, tensor: String?)
    }

    /// Where a patch comes from.
    public enum Origin: Sendable, Hashable {
        case prompt(String)
        case tokens([Int])
        /// A file of `tlens run --out`, and its batch row.
        case run(String, row: Int)
    }

    /// What a mean is taken over.
    public enum Average: String, Sendable, Hashable, CaseIterable {
        /// Every token of every prompt.
        case all
        /// The last token of each.
        case last
        /// The token at the same place of each.
        case position
    }

    public var operation: Operation
    /// Full name, shorthand or glob.
    public var site: String
    /// nil: all.
    public var heads: [Int]?
    public var positions: [HookPosition]

    public init(_ operation: Operation, site: String, heads: [Int]? = nil, positions: [HookPosition] = [.all]) {
        self.operation = operation
        self.site = site
        self.heads = heads
        self.positions = positions
    }

    /// The help of commands that take edits.
    public static let help = """
        EDIT is a line `OP SITE [key=value]...`, the same as a JSON object, or a file of them (a name without spaces: JSON, or a line each, # comments). \
        OP: zero; scale by=N; add and set value=N, or from=FILE tensor=NAME (add takes by=N too); patch prompt="TEXT", tokens=1,2,3 or from=RUN.safetensors, \
        at the same position unless from_at=I; mean prompts_file=FILE, over=all|last|position. \
        SITE: a full name, a shorthand (z5, resid_post3) or a glob. heads=0,2. \
        at=all (default), last (of the prompt), new (every new token), or positions 0,2..4,-1 counted without padding, negative from the prompt's end.
        """
}

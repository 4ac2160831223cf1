// Hooks of the reverse pass: those that meet gradients, and those that let none through.

import LensTensor

extension Hook {
    /// Reads or replaces the gradient at a site, in a run with gradients (`Transformer.runWithGradients`); elsewhere it does
    /// nothing.
    ///
    /// `body` gets the complete gradient of the activation as it left the site (after the hooks that edit it), of its shape.
    /// What it leaves there goes further back. Sites come in the reverse of firing order; hooks at one site in the order they
    /// were given, each with what the one before left. A site that the metric does not depend on is passed over. Sites that
    /// hold integers (`hook_tokens`, `hook_expert_indices`) have no gradient.
    public static func gradient(_ filter: ActivationFilter, _ body: @escaping (inout Tensor, HookContext) throws -> Void) -> Hook {
        Hook(filter: filter, action: .gradient(body))
    }

    /// Makes the activation a constant for the reverse pass: no gradient flows back through the site. Changes no bit of the
    /// run. What the site's own gradient is can still be asked. Frozen patterns and norm scales are
    /// `stopGradient(["blocks.*.attn.hook_pattern", "blocks.*.hook_scale"])`.
    public static func stopGradient(_ filter: ActivationFilter) -> Hook {
        Hook(filter: filter, action: .stopGradient)
    }
}

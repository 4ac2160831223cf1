// Long blocking work on a thread of its own, so that Swift's cooperative threads stay free.

import Dispatch
import Synchronization

/// A flag that one thread raises and another reads.
private final class CancelFlag: Sendable {
    private let raised = Atomic(false)
    var isRaised: Bool { raised.load(ordering: .relaxed) }
    func raise() { raised.store(true, ordering: .relaxed) }
}

extension Hub {
    /// Runs `body` off the pool; it is told when the task is cancelled.
    static func offPool<R: Sendable>(_ body: @escaping @Sendable (@escaping @Sendable () -> Bool) throws -> R) async throws -> R {
        let flag = CancelFlag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global(qos: .userInitiated).async {
                    continuation.resume(with: Result { try body { flag.isRaised } })
                }
            }
        } onCancel: {
            flag.raise()
        }
    }
}

// A flag that stops a run between blocks, for work that is no task of Swift's: a stream's thread, a signal handler.

import Synchronization

/// Set once, from any thread; runs that hold it stop before their next block with `LensError(.cancelled)`.
public final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    public init() {}

    public var isCancelled: Bool { flag.load(ordering: .relaxed) }

    public func cancel() { flag.store(true, ordering: .relaxed) }
}

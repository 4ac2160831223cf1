// The door to the C kernels: which instruction set runs, and on how many threads.

import CLensKernels
import LensFiles

/// The instruction set and the threads the kernels use.
public enum Kernels {
    /// A table in static memory, never changed: safe to share.
    private struct Table: @unchecked Sendable { let isa: OpaquePointer }

    private static let active: Result<Table, LensError> = {
        if let isa = lens_isa_active() { return .success(Table(isa: isa)) }
        let names = (0..<lens_isa_count()).compactMap { index -> String? in
            guard let isa = lens_isa_at(index), lens_isa_runnable(isa) else { return nil }
            return String(cString: lens_isa_name(isa))
        }
        return .failure(LensError(.machine, "unknown or unrunnable instruction set", at: "environment variable LENS_ISA",
                                  expected: "one of \(names.joined(separator: ", ")) on this machine",
                                  found: environmentVariable("LENS_ISA") ?? "nothing", advice: "unset LENS_ISA to choose the best"))
    }()

    /// The table of row kernels in use.
    /// - Throws: `LensError(.machine)` if `LENS_ISA` names an instruction set this machine cannot run.
    static func isa() throws -> OpaquePointer { try active.get().isa }

    /// `avx512vnni`, `avx512`, `avx2vnni`, `avx2` or `portable`. Those with `vnni` differ in how rounded activations are multiplied.
    /// - Throws: `LensError(.machine)` as above.
    public static func instructionSet() throws -> String { String(cString: lens_isa_name(try isa())) }

    /// Threads every kernel of the process uses (results do not depend on it): never more than the processors this process
    /// may run on, or 4 if those are fewer. Set below 1: OpenMP's own choice.
    public static var threads: Int {
        get { Int(lens_get_threads()) }
        set { lens_set_threads(Int32(clamping: newValue)) }
    }

    /// Gives the memory kept for the next pass (768 MiB at most) back to the system, for a process that will run none for a
    /// while. Nothing in use is touched.
    public static func releaseMemory() { BufferPool.shared.empty() }
}

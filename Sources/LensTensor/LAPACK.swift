// Singular values and eigenvalues, by LAPACKE in double precision. The library is opened when it is first needed: a program
// that never asks for them neither loads it nor has its threads, and a machine without it can do everything else.
//
// It refuses NaN and infinity, which LAPACK's iterations need not survive, and reports what LAPACK reports. OpenBLAS has one
// thread setting for the process: it is set for a call and put back after it.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif
import LensFiles
import Synchronization

/// Decompositions of dense row-major matrices.
package enum LAPACK {
    /// `A = U · diag(S) · Vᵀ` of `a: [rows, columns]`, with n = min(rows, columns): U `[rows, n]`, S `[n]` falling, Vᵀ `[n, columns]`.
    /// - Throws: `LensError(.usage)` for numbers that are not finite, `(.machine)` without LAPACKE or if it does not converge.
    package static func svd(_ a: [Double], rows: Int, columns: Int) throws -> (u: [Double], s: [Double], vt: [Double]) {
        try check(a, rows, columns, "a singular value decomposition")
        let n = min(rows, columns)
        guard n > 0 else { return ([], [], []) }
        var a = a, u = [Double](repeating: 0, count: rows * n), s = [Double](repeating: 0, count: n)
        var vt = [Double](repeating: 0, count: n * columns)
        let library = try Library.shared.get()
        let info = library.withThreads(for: rows * columns) {
            library.gesdd(rowMajor, CChar(UInt8(ascii: "S")), Int32(rows), Int32(columns), &a, Int32(columns), &s, &u, Int32(n),
                          &vt, Int32(columns))
        }
        try check(info, "a singular value decomposition", rows, columns)
        return (u, s, vt)
    }

    /// The eigenvalues of `a: [size, size]`, in LAPACK's order.
    /// - Throws: as `svd`.
    package static func eigenvalues(_ a: [Double], size: Int) throws -> (real: [Double], imaginary: [Double]) {
        try check(a, size, size, "eigenvalues")
        guard size > 0 else { return ([], []) }
        var a = a, real = [Double](repeating: 0, count: size), imaginary = real
        var left = [0.0], right = [0.0]
        let library = try Library.shared.get(), none = CChar(UInt8(ascii: "N"))
        let info = library.withThreads(for: size * size) {
            library.geev(rowMajor, none, none, Int32(size), &a, Int32(size), &real, &imaginary, &left, Int32(size), &right, Int32(size))
        }
        try check(info, "eigenvalues", size, size)
        return (real, imaginary)
    }

    private static let rowMajor: Int32 = 101

    private static func check(_ a: [Double], _ rows: Int, _ columns: Int, _ what: String) throws {
        guard a.count == rows * columns, Int32(exactly: rows) != nil, Int32(exactly: columns) != nil else {
            throw LensError(.shape, what, expected: "a matrix [\(rows), \(columns)]", found: "\(a.count) elements")
        }
        let areFinite = a.withUnsafeBufferPointer { a in
            for index in 0..<a.count where !a[index].isFinite { return false }
            return true
        }
        guard areFinite else {
            throw LensError(.usage, "\(what) of a matrix with numbers that are not finite", expected: "finite numbers", found: "NaN or infinity")
        }
    }

    private static func check(_ info: Int32, _ what: String, _ rows: Int, _ columns: Int) throws {
        guard info == 0 else {
            throw LensError(.machine, info > 0 ? "\(what) did not converge" : "LAPACKE refused an argument or had no memory",
                            at: "matrix [\(rows), \(columns)]", found: "info \(info)")
        }
    }
}

/// LAPACKE as it is opened once.
private final class Library: Sendable {
    typealias GESDD = @convention(c) (Int32, CChar, Int32, Int32, UnsafeMutablePointer<Double>, Int32, UnsafeMutablePointer<Double>,
                                      UnsafeMutablePointer<Double>, Int32, UnsafeMutablePointer<Double>, Int32) -> Int32
    typealias GEEV = @convention(c) (Int32, CChar, CChar, Int32, UnsafeMutablePointer<Double>, Int32, UnsafeMutablePointer<Double>,
                                     UnsafeMutablePointer<Double>, UnsafeMutablePointer<Double>, Int32, UnsafeMutablePointer<Double>,
                                     Int32) -> Int32
    typealias GetThreads = @convention(c) () -> Int32
    typealias SetThreads = @convention(c) (Int32) -> Void

    static let shared = Result<Library, any Error> { try Library() }

    let gesdd: GESDD
    let geev: GEEV
    /// nil where the BLAS beneath is not OpenBLAS.
    private let getThreads: GetThreads?
    private let setThreads: SetThreads?
    /// The thread setting is the process': one call at a time.
    private let turn = Mutex(())

    private init() throws {
        let names = ["liblapacke.so.3", "liblapacke.so", "libopenblas.so.0", "libopenblas.so", "liblapacke.dylib", "libopenblas.dylib"]
        for name in names {
            guard let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) else { continue }
            guard let gesdd = dlsym(handle, "LAPACKE_dgesdd"), let geev = dlsym(handle, "LAPACKE_dgeev") else {
                dlclose(handle)
                continue
            }
            self.gesdd = unsafeBitCast(gesdd, to: GESDD.self)
            self.geev = unsafeBitCast(geev, to: GEEV.self)
            // Found among what the library itself is linked with.
            getThreads = dlsym(handle, "openblas_get_num_threads").map { unsafeBitCast($0, to: GetThreads.self) }
            setThreads = dlsym(handle, "openblas_set_num_threads").map { unsafeBitCast($0, to: SetThreads.self) }
            return
        }
        throw LensError(.machine, "no LAPACKE on this machine", expected: "a library \(names[0]) or \(names[2])",
                        advice: "install OpenBLAS and LAPACKE (Debian, Ubuntu: liblapacke and libopenblas0)")
    }

    /// Elements below which one thread is faster than several.
    private static let smallMatrix = 256 * 256

    /// One call of the library, with as many threads as the kernels use (one for a small matrix).
    func withThreads(for count: Int, _ body: () -> Int32) -> Int32 {
        turn.withLock { _ in
            guard let getThreads, let setThreads else { return body() }
            let before = getThreads()
            setThreads(count < Self.smallMatrix ? 1 : Int32(clamping: Kernels.threads))
            defer { setThreads(before) }
            return body()
        }
    }
}

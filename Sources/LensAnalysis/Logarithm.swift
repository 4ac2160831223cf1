// The natural logarithm, from whatever the C library is called here.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// ln x.
func logarithm(_ x: Double) -> Double { log(x) }

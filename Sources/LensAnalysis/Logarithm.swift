// The natural logarithm and its kin, from whatever the C library is called here.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// ln x.
func logarithm(_ x: Double) -> Double { log(x) }

/// cos x.
func cosine(_ x: Double) -> Double { cos(x) }

/// sin x.
func sine(_ x: Double) -> Double { sin(x) }

/// eˣ.
func exponential(_ x: Double) -> Double { exp(x) }

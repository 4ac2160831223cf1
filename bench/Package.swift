// swift-tools-version: 6.2
// Benchmarks, in a package of their own so that users never resolve what they need.
import PackageDescription

let package = Package(
    name: "lens-bench",
    dependencies: [
        .package(name: "swift-transformer-lens", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        .executableTarget(name: "lens-bench", dependencies: [
            .product(name: "TransformerLens", package: "swift-transformer-lens"),
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
        ]),
    ],
    swiftLanguageModes: [.v6]
)

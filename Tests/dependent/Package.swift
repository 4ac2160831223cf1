// swift-tools-version: 6.2
// A package that depends on this one, as a user's does: built and run by scripts/check-dependents.sh. `readme` is the
// README's example, written there by the script.
import PackageDescription

let package = Package(
    name: "dependent",
    dependencies: [.package(name: "swift-transformer-lens", path: "../..")],
    targets: [
        .executableTarget(name: "print-shape", dependencies: [.product(name: "TransformerLens", package: "swift-transformer-lens")]),
        .executableTarget(name: "readme", dependencies: [.product(name: "TransformerLens", package: "swift-transformer-lens")]),
    ],
    swiftLanguageModes: [.v6]
)

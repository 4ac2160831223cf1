// One import for users: `import TransformerLens`.

@_exported import LensAnalysis
@_exported import LensFiles
@_exported import LensHooks
@_exported import LensHub
@_exported import LensModel
@_exported import LensTensor
@_exported import LensText
@_exported import LensZoo

// Prints the shape of an attention pattern of a model in a folder: `print-shape FOLDER`.

import TransformerLens

let model = try HookedTransformer(folder: CommandLine.arguments[1])
let (_, cache) = try model.runWithCache([[1, 2, 3], [4, 5, 6]], namesFilter: "pattern")
print(try cache["pattern", 0].shape)

// LensModel

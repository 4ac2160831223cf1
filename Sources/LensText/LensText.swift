// LensText

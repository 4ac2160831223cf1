// LensTensor

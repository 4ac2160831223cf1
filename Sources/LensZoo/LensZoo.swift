// LensZoo

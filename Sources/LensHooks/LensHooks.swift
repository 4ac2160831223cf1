// LensHooks

// LensTestSupport

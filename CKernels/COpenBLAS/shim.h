// OpenBLAS and LAPACKE as one module. Not API: only CLensKernels imports it.
#ifndef LENS_OPENBLAS_SHIM_H
#define LENS_OPENBLAS_SHIM_H
#include <cblas.h>
#include <lapacke.h>
#endif

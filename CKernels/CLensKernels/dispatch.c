#include "lens_kernels.h"

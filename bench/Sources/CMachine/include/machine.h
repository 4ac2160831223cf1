// machine.h: what the machine can do at most, so that results can be given as a share of it.
#ifndef MACHINE_H
#define MACHINE_H
#include <stdint.h>

/// Floating-point operations per second of one thread that does nothing but multiply-adds in registers, with the widest
/// vectors it has. Run on every thread at once, the sum is what no product can pass.
double machine_flops(void);
/// Sums `count` floats (a multiple of 128): reading and nothing else.
float machine_sum(const float *x, int64_t count);

#endif

/* The least that the MPS2 and MPS3 boards of QEMU need: a vector table, the FPU, newlib's own start with semihosting. */
#include <stdint.h>

#define CPACR (*(volatile uint32_t *)0xE000ED88u) /* coprocessor access, Armv7-M B3.2.20 */

extern void _start(void);
extern uint32_t stack_top;

void reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0xFu << 20;
    __asm volatile("dsb\n isb");
#endif
    _start();
}

static void fault(void) {
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
};

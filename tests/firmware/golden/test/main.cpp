// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// The self-test as a program: exit status 0 where every golden vector passed. printf() goes where your C library sends
// it: a UART (_write of newlib), semihosting (--specs=rdimon.specs), Zephyr's console.
#include <cstdio>

#include "model_2d_net.h"
#include "model_2d_net/selftest.h"
#include "model_2d_net/tflm.h"
#include "tensorflow/lite/micro/system_setup.h"

namespace {

void Print(const char* line) { std::printf("%s\n", line); }

}  // namespace

int main() {
  model_2d_net::tflm::InitializeTarget();
  return model_2d_net::RunSelfTest(Print) == 0 ? 0 : 1;
}

// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// Runs the golden vectors and shows PASS or FAIL on the serial monitor (115200 baud).

// The library of TFLite Micro that you have installed: Chirale_TensorFlowLite.h, TensorFlowLite.h for
// Arduino_TensorFlowLite, TensorFlowLite_ESP32.h. Its header comes first: so the IDE finds the library.
#include <Chirale_TensorFlowLite.h>

#include <model_2d_net.h>
#include <model_2d_net/selftest.h>

namespace {

constexpr unsigned long kWaitMs = 5000;  // for a serial monitor, where one comes

void print(const char* line) { Serial.println(line); }

}  // namespace

void setup() {
  Serial.begin(115200);
  while (!Serial && millis() < kWaitMs) {
  }
  model_2d_net::RunSelfTest(print);
}

void loop() {}

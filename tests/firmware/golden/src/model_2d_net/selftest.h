// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// Does this board compute what the machine computed that built the model?
#ifndef MODEL_2D_NET_SELFTEST_H_
#define MODEL_2D_NET_SELFTEST_H_

namespace model_2d_net {

// Shows one line, without its end: printf("%s\n", line), Serial.println(line), a semihosting call.
using Print = void (*)(const char* line);

// Runs every golden vector and shows PASS or FAIL for each output of each; the last line is the verdict.
// Returns how many vectors failed, -1 where the model could not be run at all.
int RunSelfTest(Print print);

}  // namespace model_2d_net

#endif  // MODEL_2D_NET_SELFTEST_H_

// What the source package uses of TFLite Micro's header of this name.
#ifndef STAND_IN_SYSTEM_SETUP_H_
#define STAND_IN_SYSTEM_SETUP_H_

namespace tflite {

void InitializeTarget();

}  // namespace tflite

#endif  // STAND_IN_SYSTEM_SETUP_H_

// Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
// TFLite Micro's names, wherever it has them: in tflite, and since the autumn of 2026 in tflite::micro. Its C types are
// global in both, as long as no header of TFLite's own C API (tensorflow/lite/c/) is included before.
#ifndef MODEL_2D_NET_TFLM_H_
#define MODEL_2D_NET_TFLM_H_

namespace tflite {
namespace micro {}
}  // namespace tflite

namespace model_2d_net {
namespace tflm {
using namespace tflite;
using namespace tflite::micro;
}  // namespace tflm
}  // namespace model_2d_net

#endif  // MODEL_2D_NET_TFLM_H_

// What the source package uses of TFLite Micro's header of this name.
#ifndef STAND_IN_MICRO_MUTABLE_OP_RESOLVER_H_
#define STAND_IN_MICRO_MUTABLE_OP_RESOLVER_H_

#include <cstring>

#include "tensorflow/lite/c/common.h"

namespace tflite {

class MicroOpResolver {
 public:
  virtual bool Has(const char* method) const = 0;

 protected:
  ~MicroOpResolver() = default;
};

template <unsigned int tOpCount>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
#define METHOD(name) \
  TfLiteStatus name() { return Add(#name); }
#include "methods.inc"
#undef METHOD

  bool Has(const char* method) const override {
    for (unsigned int at = 0; at < count_; ++at) {
      if (std::strcmp(methods_[at], method) == 0) return true;
    }
    return false;
  }

 private:
  TfLiteStatus Add(const char* method) {
    if (Has(method) || count_ >= tOpCount) return kTfLiteError;
    methods_[count_++] = method;
    return kTfLiteOk;
  }

  const char* methods_[tOpCount] = {};
  unsigned int count_ = 0;
};

}  // namespace tflite

#endif  // STAND_IN_MICRO_MUTABLE_OP_RESOLVER_H_

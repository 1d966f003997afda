// What the source package uses of TFLite Micro's header of this name.
#ifndef STAND_IN_COMMON_H_
#define STAND_IN_COMMON_H_

#include <cstddef>
#include <cstdint>

typedef enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;

typedef enum {
  kTfLiteNoType = 0,
  kTfLiteFloat32 = 1,
  kTfLiteInt32 = 2,
  kTfLiteUInt8 = 3,
  kTfLiteInt64 = 4,
  kTfLiteBool = 6,
  kTfLiteInt16 = 7,
  kTfLiteInt8 = 9,
  kTfLiteUInt32 = 16,
} TfLiteType;

typedef union TfLitePtrUnion {
  char* raw;
  void* data;
} TfLitePtrUnion;

#ifndef TF_LITE_STATIC_MEMORY
#error "TFLite Micro and what uses it are compiled with TF_LITE_STATIC_MEMORY: it changes TfLiteTensor"
#endif
typedef struct TfLiteTensor {
  TfLitePtrUnion data;
  size_t bytes;
  TfLiteType type;
} TfLiteTensor;

#endif  // STAND_IN_COMMON_H_

// What the source package uses of TFLite Micro's header of this name.
#ifndef STAND_IN_SCHEMA_GENERATED_H_
#define STAND_IN_SCHEMA_GENERATED_H_

#include <cstdint>
#include <cstring>

namespace tflite {

// The root table of a flatbuffer: its vtable says where the first field, the version, is.
class Model {
 public:
  uint32_t version() const {
    int32_t to_vtable;
    std::memcpy(&to_vtable, this, sizeof(to_vtable));
    const unsigned char* table = reinterpret_cast<const unsigned char*>(this);
    uint16_t field;
    std::memcpy(&field, table - to_vtable + 4, sizeof(field));
    uint32_t version;
    std::memcpy(&version, table + field, sizeof(version));
    return field == 0 ? 0 : version;
  }
};

inline const Model* GetModel(const void* buffer) {
  uint32_t root;
  std::memcpy(&root, buffer, sizeof(root));
  return reinterpret_cast<const Model*>(static_cast<const unsigned char*>(buffer) + root);
}

}  // namespace tflite

#endif  // STAND_IN_SCHEMA_GENERATED_H_
